{{- /* What a schema cannot say: values that do not go together end the rendering with one clear line. */ -}}
{{- define "memgpt-proxy.checks" -}}
{{- include "memgpt-proxy.checkPlaces" . -}}
{{- include "memgpt-proxy.checkBackend" . -}}
{{- include "memgpt-proxy.checkStores" . -}}
{{- include "memgpt-proxy.checkOpenUrls" . -}}
{{- include "memgpt-proxy.checkAutoscaling" . -}}
{{- include "memgpt-proxy.checkKind" . -}}
{{- if include "memgpt-proxy.embedded" . -}}
{{- include "memgpt-proxy.checkEmbedded" . -}}
{{- else -}}
{{- include "memgpt-proxy.checkSecret" . -}}
{{- end -}}
{{- end -}}

{{- /* Settings that have values of their own; the schema lets them pass, since it could not tell where they belong. */ -}}
{{- define "memgpt-proxy.checkPlaces" -}}
{{- $places := dict "host" "host" "port" "port" "backend_url" "backend.url" "elasticsearch_url" "elasticsearch.url"
      "elasticsearch_ca_file" "elasticsearch.ca.secret" "redis_url" "redis.url" "redis_ca_file" "redis.ca.secret"
      "drain_delay_seconds" "draining.delaySeconds" "drain_seconds" "draining.seconds" -}}
{{- range list "accepted_keys" "backend_api_key" "elasticsearch_api_key" "elasticsearch_password" "embedding_api_key" "namespace_secret" -}}
{{- $_ := set $places . (print "secrets." .) -}}
{{- end -}}
{{- range $name, $_ := .Values.settings -}}
{{- with get $places $name -}}
{{- $secret := or (eq $name "redis_url") (hasPrefix "secrets." .) -}}
{{- fail (printf "settings.%s has a place of its own. Set %s instead%s." $name . (ternary (printf ", or MEMGPT_%s in existingSecret" (upper $name)) "" $secret)) -}}
{{- end -}}
{{- end -}}
{{- if hasKey .Values.settings "data_dir" -}}
{{- fail "settings.data_dir is the chart's own: /var/lib/memgpt-proxy, where the volume is." -}}
{{- end -}}
{{- if hasKey .Values.secrets "redis_url" -}}
{{- fail "secrets.redis_url has a place of its own. Set redis.url instead, or MEMGPT_REDIS_URL in existingSecret." -}}
{{- end -}}
{{- end -}}

{{- define "memgpt-proxy.checkBackend" -}}
{{- $named := compact (list .Values.backend.url (ternary "demo" "" .Values.backend.demo) (default "" .Values.settings.backends_file)) -}}
{{- if not $named -}}
{{- fail "Set backend.url to the base URL of your chat-completions backend, or backend.demo=true to try out without one." -}}
{{- end -}}
{{- if gt (len $named) 1 -}}
{{- fail "Set one of backend.url, backend.demo and settings.backends_file." -}}
{{- end -}}
{{- if and .Values.secrets.backend_api_key (not .Values.secrets.accepted_keys) (not .Values.settings.keys_file) (not .Values.existingSecret) (not .Values.extraEnv) (not .Values.extraEnvFrom) -}}
{{- fail "secrets.backend_api_key could be spent by whoever reaches the gateway, which would not start. Set secrets.accepted_keys to the keys that you give to clients, or settings.keys_file." -}}
{{- end -}}
{{- end -}}

{{- define "memgpt-proxy.checkStores" -}}
{{- if and .Values.elasticsearch.url .Values.bundled.elasticsearch.enabled -}}
{{- fail "Set elasticsearch.url or bundled.elasticsearch.enabled, not both." -}}
{{- end -}}
{{- if and .Values.redis.url .Values.bundled.redis.enabled -}}
{{- fail "Set redis.url or bundled.redis.enabled, not both." -}}
{{- end -}}
{{- end -}}

{{- define "memgpt-proxy.checkEmbedded" -}}
{{- if gt (int (include "memgpt-proxy.replicas" .)) 1 -}}
{{- fail (printf "replicas is %v without Elasticsearch: the embedded store serves one replica. Set elasticsearch.url." .Values.replicas) -}}
{{- end -}}
{{- if or .Values.autoscaling.enabled .Values.autoscaling.external -}}
{{- fail "autoscaling without Elasticsearch: the embedded store serves one replica. Set elasticsearch.url." -}}
{{- end -}}
{{- end -}}

{{- /* The secret of namespaces is given, and stays as it is: with another, no key finds its memory. */ -}}
{{- define "memgpt-proxy.checkSecret" -}}
{{- $given := .Values.secrets.namespace_secret -}}
{{- if not (or $given .Values.existingSecret) -}}
{{- fail (printf "Elasticsearch needs a secret of namespaces, the same for all replicas and for good. Make it once: kubectl -n %s create secret generic memgpt-secret --from-literal=MEMGPT_NAMESPACE_SECRET=$(openssl rand -hex 32); set existingSecret=memgpt-secret; and keep a copy." .Release.Namespace) -}}
{{- end -}}
{{- $there := lookup "v1" "Secret" .Release.Namespace (include "memgpt-proxy.fullname" .) -}}
{{- $before := get (default dict $there.data) "MEMGPT_NAMESPACE_SECRET" -}}
{{- if and $before (ne (b64dec $before) (default "" $given)) (not .Values.existingSecret) -}}
{{- fail "secrets.namespace_secret is not what this release has: no key would find its memory again. Set it as it was." -}}
{{- end -}}
{{- end -}}

{{- /* What a release has no more Helm deletes, with its pods: none would serve until those of the other kind are ready. */ -}}
{{- define "memgpt-proxy.checkKind" -}}
{{- $name := include "memgpt-proxy.fullname" . -}}
{{- $kind := include "memgpt-proxy.kind" . -}}
{{- $other := ternary "Deployment" "StatefulSet" (eq $kind "StatefulSet") -}}
{{- $there := lookup "apps/v1" $other .Release.Namespace $name -}}
{{- if dig "spec" "replicas" 0 (default dict $there) | int -}}
{{- fail (printf "With these values the %s %s would be deleted at once, and all its pods, to become a %s. Have its pods go on meanwhile: kubectl -n %s delete %s %s --cascade=orphan, then upgrade, then delete the pods that are left; or scale it to 0, as before a move from the embedded store to a fleet. docs/deployment.md tells both." $other $name $kind .Release.Namespace (lower $other) $name) -}}
{{- end -}}
{{- end -}}

{{- /* These URLs stand in a ConfigMap. */ -}}
{{- define "memgpt-proxy.checkOpenUrls" -}}
{{- range $value, $url := dict "backend.url" .Values.backend.url "elasticsearch.url" .Values.elasticsearch.url "settings.embedding_url" (default "" .Values.settings.embedding_url) -}}
{{- if regexMatch "://[^/,]*@" $url -}}
{{- fail (printf "%s has a password in it, and would stand in a ConfigMap. Put the password into a Secret: MEMGPT_BACKEND_API_KEY, MEMGPT_ELASTICSEARCH_PASSWORD, MEMGPT_EMBEDDING_API_KEY." $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Kubernetes would choose a metric of its own, and refuse a minimum above the maximum. */ -}}
{{- define "memgpt-proxy.checkAutoscaling" -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled .external -}}
{{- fail "Set one of autoscaling.enabled and autoscaling.external." -}}
{{- end -}}
{{- if and .enabled (not .targetCPUUtilizationPercentage) (not .activeStreams.enabled) -}}
{{- fail "autoscaling.enabled without a metric: set autoscaling.targetCPUUtilizationPercentage or autoscaling.activeStreams.enabled." -}}
{{- end -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas is %v, above autoscaling.maxReplicas, %v." .minReplicas .maxReplicas) -}}
{{- end -}}
{{- if and .enabled .targetCPUUtilizationPercentage (not (dig "requests" "cpu" "" (default dict $.Values.resources))) -}}
{{- fail "autoscaling by CPU needs resources.requests.cpu, of which it is a part." -}}
{{- end -}}
{{- end -}}
{{- end -}}
