{{- /* The ports that one of the values' URLs stands for, one a line:
       several nodes are separated by commas; behind sentinels stands a Redis. */ -}}
{{- define "memgpt-proxy.portsOf" -}}
{{- $usual := dict "http" 80 "https" 443 "redis" 6379 "rediss" 6379 "redis+sentinel" 26379 "redis+cluster" 6379 -}}
{{- $scheme := "" -}}
{{- range splitList "," . -}}
{{- $node := trim . -}}
{{- if contains "://" $node -}}
{{- $scheme = lower (first (splitList "://" $node)) -}}
{{- $node = last (splitList "://" $node) -}}
{{- end -}}
{{- $host := last (splitList "@" (first (splitList "/" $node))) -}}
{{- $port := regexFind ":[0-9]+$" $host | trimPrefix ":" -}}
{{- if $host }}
{{ default (toString (get $usual $scheme)) $port }}
{{- end -}}
{{- end -}}
{{- if eq $scheme "redis+sentinel" }}
6379
{{- end -}}
{{- end -}}

{{- /* Every port that a gateway connects to, each once, in order, one a line.
       A Secret of the operator's may name a Redis. */ -}}
{{- define "memgpt-proxy.egressPorts" -}}
{{- $found := list -}}
{{- $urls := list .Values.backend.url (include "memgpt-proxy.elasticsearchUrl" .) (include "memgpt-proxy.redisUrl" .) -}}
{{- $urls = append $urls (default "" .Values.settings.embedding_url) -}}
{{- if and .Values.existingSecret (not (include "memgpt-proxy.embedded" .)) -}}
{{- $found = append $found "6379" -}}
{{- end -}}
{{- range $urls -}}
{{- range splitList "\n" (include "memgpt-proxy.portsOf" .) -}}
{{- $found = append $found (trim .) -}}
{{- end -}}
{{- end -}}
{{- range .Values.networkPolicy.extraPorts -}}
{{- $found = append $found (include "memgpt-proxy.text" (list "port" .)) -}}
{{- end -}}
{{- range compact $found | uniq | sortAlpha }}
{{ . }}
{{- end }}
{{- end -}}
