{{- /* A value as the text that an environment variable holds. Helm reads whole numbers as floats,
       which would be written 1e+06; lists of patterns stand one a line, others are joined by commas. */ -}}
{{- define "memgpt-proxy.text" -}}
{{- $name := index . 0 -}}
{{- $value := index . 1 -}}
{{- if kindIs "slice" $value -}}
{{- $separator := ternary "\n" "," (eq $name "task_prompts") -}}
{{- join $separator $value -}}
{{- else if and (kindIs "float64" $value) (eq (floor $value) $value) -}}
{{- printf "%.0f" $value -}}
{{- else -}}
{{- toString $value -}}
{{- end -}}
{{- end -}}

{{- define "memgpt-proxy.environment" -}}
{{- range $name, $value := . }}
{{- if not (kindIs "invalid" $value) }}
MEMGPT_{{ upper $name }}: {{ include "memgpt-proxy.text" (list $name $value) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* What the chart itself sets, and `settings`, which may add to that and not change it. Who reads a pod's log
       is a program, unless `settings` says otherwise. */ -}}
{{- define "memgpt-proxy.settings" -}}
{{- $own := dict
      "host" .Values.host
      "port" .Values.port
      "data_dir" "/var/lib/memgpt-proxy"
      "backend_url" (default nil .Values.backend.url)
      "elasticsearch_url" (default nil (include "memgpt-proxy.elasticsearchUrl" .))
      "drain_delay_seconds" .Values.draining.delaySeconds
      "drain_seconds" .Values.draining.seconds -}}
{{- if .Values.elasticsearch.ca.secret -}}
{{- $_ := set $own "elasticsearch_ca_file" (printf "/etc/elasticsearch-ca/%s" .Values.elasticsearch.ca.key) -}}
{{- end -}}
{{- if .Values.redis.ca.secret -}}
{{- $_ := set $own "redis_ca_file" (printf "/etc/redis-ca/%s" .Values.redis.ca.key) -}}
{{- end -}}
{{- include "memgpt-proxy.environment" (merge $own .Values.settings (dict "log_format" "json")) -}}
{{- end -}}

{{- define "memgpt-proxy.secrets" -}}
{{- $redis := include "memgpt-proxy.redisUrl" . -}}
{{- $own := ternary (dict "redis_url" $redis) (dict) (ne $redis "") -}}
{{- include "memgpt-proxy.environment" (merge $own .Values.secrets) -}}
{{- end -}}

{{- define "memgpt-proxy.gracePeriodSeconds" -}}
{{- with .Values.draining -}}
{{ add .preStopSeconds .delaySeconds .seconds 30 }}
{{- end -}}
{{- end -}}
