{{- /* URLs that the gateway connects to, one a line: of values, of the file of backends where the chart
       brings it, and of the collector of spans where its variable stands in the open. */ -}}
{{- define "memgpt-proxy.urls" -}}
{{- range list .Values.backend.url (include "memgpt-proxy.elasticsearchUrl" .) (include "memgpt-proxy.redisUrl" .) (default "" .Values.settings.embedding_url) }}
{{ . }}
{{- end }}
{{- $file := default "" .Values.settings.backends_file -}}
{{- if eq (dir $file) (clean .Values.configFiles.directory) -}}
{{- range (get .Values.configFiles.files (base $file) | default "{}" | fromYaml).backends }}
{{ .url }}
{{- end }}
{{- end }}
{{- range .Values.extraEnv -}}
{{- if has .name (list "OTEL_EXPORTER_OTLP_ENDPOINT" "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") }}
{{ .value }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* The nodes of a URL as `scheme host port`, one a line: several are separated by commas;
       behind sentinels stands a Redis. */ -}}
{{- define "memgpt-proxy.nodes" -}}
{{- $usual := dict "http" 80 "https" 443 "redis" 6379 "rediss" 6379
      "redis+sentinel" 26379 "rediss+sentinel" 26379 "redis+cluster" 6379 "rediss+cluster" 6379 -}}
{{- $scheme := "" -}}
{{- range splitList "," . -}}
{{- $node := trim . -}}
{{- if contains "://" $node -}}
{{- $scheme = lower (first (splitList "://" $node)) -}}
{{- $node = last (splitList "://" $node) -}}
{{- end -}}
{{- $address := last (splitList "@" (first (splitList "/" $node))) -}}
{{- $port := regexFind ":[0-9]+$" $address -}}
{{- $host := trimSuffix $port $address -}}
{{- if $host }}
{{ $scheme }} {{ $host }} {{ trimPrefix ":" $port | default (get $usual $scheme) }}
{{- if hasSuffix "+sentinel" $scheme }}
{{ trimSuffix "+sentinel" $scheme }} {{ $host }} 6379
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "memgpt-proxy.allNodes" -}}
{{- range splitList "\n" (include "memgpt-proxy.urls" .) -}}
{{- include "memgpt-proxy.nodes" (trim .) -}}
{{- end -}}
{{- end -}}

{{- /* Every port that a gateway connects to, each once, in order, one a line.
       A Secret of the operator's may name a Redis. */ -}}
{{- define "memgpt-proxy.egressPorts" -}}
{{- $found := list -}}
{{- if and .Values.existingSecret (not (include "memgpt-proxy.embedded" .)) -}}
{{- $found = append $found "6379" -}}
{{- end -}}
{{- range include "memgpt-proxy.allNodes" . | trim | splitList "\n" | compact -}}
{{- $found = append $found (splitList " " . | last) -}}
{{- end -}}
{{- range .Values.networkPolicy.extraPorts -}}
{{- $found = append $found (include "memgpt-proxy.text" (list "port" .)) -}}
{{- end -}}
{{- range $found | uniq | sortAlpha }}
{{ . }}
{{- end }}
{{- end -}}

{{- /* Namespaces of the Services that are named as such are: `vllm`, `vllm.models`, `vllm.models.svc…`.
       Two words with https and no port are a domain. */ -}}
{{- define "memgpt-proxy.egressNamespaces" -}}
{{- $found := list -}}
{{- range include "memgpt-proxy.allNodes" . | trim | splitList "\n" | compact -}}
{{- $node := splitList " " . -}}
{{- $host := index $node 1 -}}
{{- $labels := splitList "." $host -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" $host) -}}
{{- else if eq $host "localhost" -}}
{{- else if eq (len $labels) 1 -}}
{{- $found = append $found $.Release.Namespace -}}
{{- else if and (gt (len $labels) 2) (eq (index $labels 2) "svc") -}}
{{- $found = append $found (index $labels 1) -}}
{{- else if and (eq (len $labels) 2) (ne (print (first $node) (last $node)) "https443") -}}
{{- $found = append $found (index $labels 1) -}}
{{- end -}}
{{- end -}}
{{- range $found | uniq | sortAlpha }}
{{ . }}
{{- end }}
{{- end -}}

{{- /* Rules of a NetworkPolicy: what gateways and their jobs connect to. */ -}}
{{- define "memgpt-proxy.egress" -}}
# DNS; OpenShift's listens on 5353.
- ports:
    {{- range list 53 5353 }}
    - port: {{ . }}
      protocol: UDP
    - port: {{ . }}
      protocol: TCP
    {{- end }}
{{- with include "memgpt-proxy.egressPorts" . | trim }}
- ports:
    {{- range splitList "\n" . }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
  {{- with $.Values.networkPolicy.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if not .Values.networkPolicy.to }}
{{- with include "memgpt-proxy.egressNamespaces" . | trim }}
# A policy sees the ports of pods, which Services may map from others.
- to:
    {{- range splitList "\n" . }}
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ . }}
    {{- end }}
{{- end }}
{{- end }}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}
