{{- define "memgpt-proxy.name" -}}
{{- default .Chart.Name .Values.nameOverride -}}
{{- end -}}

{{- /* Short enough for the endings that templates add: the name of a StatefulSet and a hash make
       a label of its pods, which has 63 characters. Only what is made here is cut: the schema refuses a
       longer `fullnameOverride`, since two that are cut could be one. */ -}}
{{- define "memgpt-proxy.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default ($full | trunc 38 | trimSuffix "-") .Values.fullnameOverride -}}
{{- end -}}

{{- define "memgpt-proxy.selector" -}}
app.kubernetes.io/name: {{ include "memgpt-proxy.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* Called with more labels: they win over `commonLabels`. */ -}}
{{- define "memgpt-proxy.labels" -}}
{{- $root := index . 0 -}}
{{- with $root -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "memgpt-proxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
{{- with merge (deepCopy (index . 1)) $root.Values.commonLabels }}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- /* What every object bears. Called with `root`; the `ending` of its name, or its `name`;
       `component`; more `labels` and `annotations`. */ -}}
{{- define "memgpt-proxy.metadata" -}}
{{- $labels := deepCopy (default dict .labels) -}}
{{- with .component }}{{ $_ := set $labels "app.kubernetes.io/component" . }}{{ end -}}
name: {{ default (print (include "memgpt-proxy.fullname" .root) (default "" .ending)) .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "memgpt-proxy.labels" (list .root $labels) | nindent 2 }}
{{- with merge (deepCopy (default dict .annotations)) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "memgpt-proxy.gatewaySelector" -}}
{{ include "memgpt-proxy.selector" . }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "memgpt-proxy.serviceAccountName" -}}
{{- default (ternary (include "memgpt-proxy.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- /* Called with one of the values that name an image; `global.imageRegistry` goes before its repository. */ -}}
{{- define "memgpt-proxy.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.global.imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{ $image.repository }}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ default $root.Chart.AppVersion $image.tag }}
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
