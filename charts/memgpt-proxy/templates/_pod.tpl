{{- /* Parts of every pod that runs the gateway's image. */ -}}

{{- define "memgpt-proxy.podPlacement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Of pods that do something for the gateway: they reach what it reaches, and are scheduled as it is. What
       it has beside it in its pod would keep them from ending. */ -}}
{{- define "memgpt-proxy.podOfJob" -}}
{{- include "memgpt-proxy.podIdentity" . }}
{{- include "memgpt-proxy.podPlacement" . }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with pick .Values.podSpec "dnsConfig" "dnsPolicy" "hostAliases" "hostNetwork" "runtimeClassName" "schedulerName" }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Those for all charts of an umbrella may be names alone. */ -}}
{{- define "memgpt-proxy.imagePullSecrets" -}}
{{- with concat .Values.imagePullSecrets (default list .Values.global.imagePullSecrets) }}
imagePullSecrets:
  {{- range . }}
  - name: {{ if kindIs "string" . }}{{ . }}{{ else }}{{ .name }}{{ end }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "memgpt-proxy.podIdentity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- include "memgpt-proxy.imagePullSecrets" . }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- end -}}

{{- define "memgpt-proxy.containerImage" -}}
image: {{ include "memgpt-proxy.image" (list . .Values.image) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end -}}

{{- /* Called with the endings of the ConfigMap's and Secret's names: hooks have their own. */ -}}
{{- define "memgpt-proxy.containerEnvironment" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
envFrom:
  - configMapRef:
      name: {{ $name }}
  {{- if include "memgpt-proxy.secrets" $root }}
  - secretRef:
      name: {{ $name }}
  {{- end }}
  {{- with $root.Values.existingSecret }}
  - secretRef:
      name: {{ . }}
  {{- end }}
  {{- with $root.Values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $root.Values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "memgpt-proxy.volumeMounts" -}}
- name: data
  mountPath: /var/lib/memgpt-proxy
- name: tmp
  mountPath: /tmp
{{- if .Values.configFiles.files }}
- name: files
  mountPath: {{ .Values.configFiles.directory }}
  readOnly: true
{{- end }}
{{- if .Values.elasticsearch.ca.secret }}
- name: elasticsearch-ca
  mountPath: /etc/elasticsearch-ca
  readOnly: true
{{- end }}
{{- if .Values.redis.ca.secret }}
- name: redis-ca
  mountPath: /etc/redis-ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* All volumes but that of the data directory. */ -}}
{{- define "memgpt-proxy.volumes" -}}
{{- $root := index . 0 -}}
{{- $files := index . 1 -}}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- if $root.Values.configFiles.files }}
- name: files
  configMap:
    name: {{ $files }}
{{- end }}
{{- with $root.Values.elasticsearch.ca.secret }}
- name: elasticsearch-ca
  secret:
    secretName: {{ . }}
{{- end }}
{{- with $root.Values.redis.ca.secret }}
- name: redis-ca
  secret:
    secretName: {{ . }}
{{- end }}
{{- with $root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Over nodes and zones, unless the values say otherwise. */ -}}
{{- define "memgpt-proxy.spread" -}}
topologySpreadConstraints:
  {{- if .Values.topologySpreadConstraints }}
  {{- toYaml .Values.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "memgpt-proxy.gatewaySelector" $ | nindent 8 }}
  {{- end }}
  {{- end }}
{{- end -}}
