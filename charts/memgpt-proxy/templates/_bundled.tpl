{{- /* The bundled servers ask for no password: only this release's gateway and its jobs reach them. */ -}}
{{- define "memgpt-proxy.bundledPolicy" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "memgpt-proxy.metadata" (dict "root" $root "ending" (print "-" $component) "component" $component) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "memgpt-proxy.selector" $root | nindent 6 }}
      app.kubernetes.io/component: {{ $component }}
  policyTypes: [Ingress, Egress]
  ingress:
    - ports:
        - port: {{ ternary "http" "redis" (eq $component "elasticsearch") }}
          protocol: TCP
      from:
        - podSelector:
            matchLabels:
              {{- include "memgpt-proxy.selector" $root | nindent 14 }}
            matchExpressions:
              - key: app.kubernetes.io/component
                operator: In
                values: [gateway, migration, test]
{{- end -}}
