{{- define "memgpt-proxy.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* Short enough for the endings that templates add. */ -}}
{{- define "memgpt-proxy.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{- define "memgpt-proxy.selector" -}}
app.kubernetes.io/name: {{ include "memgpt-proxy.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "memgpt-proxy.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "memgpt-proxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "memgpt-proxy.gatewaySelector" -}}
{{ include "memgpt-proxy.selector" . }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "memgpt-proxy.serviceAccountName" -}}
{{- default (ternary (include "memgpt-proxy.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "memgpt-proxy.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- /* "true" where there is no Elasticsearch: one replica with SQLite. */ -}}
{{- define "memgpt-proxy.embedded" -}}
{{- if not (or .Values.elasticsearch.url .Values.bundled.elasticsearch.enabled) -}}true{{- end -}}
{{- end -}}

{{- define "memgpt-proxy.elasticsearchUrl" -}}
{{- if .Values.bundled.elasticsearch.enabled -}}
http://{{ include "memgpt-proxy.fullname" . }}-elasticsearch:9200
{{- else -}}
{{ .Values.elasticsearch.url }}
{{- end -}}
{{- end -}}

{{- define "memgpt-proxy.redisUrl" -}}
{{- if .Values.bundled.redis.enabled -}}
redis://{{ include "memgpt-proxy.fullname" . }}-redis:6379
{{- else -}}
{{ .Values.redis.url }}
{{- end -}}
{{- end -}}

{{- /* The volume that the data directory is on: its values, or nothing where it is on the node. */ -}}
{{- define "memgpt-proxy.persistence" -}}
{{- $where := ternary .Values.embedded .Values.journal (eq (include "memgpt-proxy.embedded" .) "true") -}}
{{- if $where.persistence.enabled -}}
{{ toJson $where.persistence }}
{{- end -}}
{{- end -}}

{{- define "memgpt-proxy.kind" -}}
{{- if or (include "memgpt-proxy.embedded" .) (include "memgpt-proxy.persistence" .) -}}
StatefulSet
{{- else -}}
Deployment
{{- end -}}
{{- end -}}

{{- define "memgpt-proxy.replicas" -}}
{{- if kindIs "invalid" .Values.replicas -}}
{{ ternary 1 2 (eq (include "memgpt-proxy.embedded" .) "true") }}
{{- else -}}
{{ .Values.replicas }}
{{- end -}}
{{- end -}}

{{- define "memgpt-proxy.storageClass" -}}
{{- if eq .storageClassName "-" }}
storageClassName: ""
{{- else if .storageClassName }}
storageClassName: {{ .storageClassName }}
{{- end }}
{{- end -}}
