{{/* Refuses what Kubernetes or KubeRay would refuse later, ignore in silence, or never make work. */}}
{{- define "svdfarm.guards" -}}
{{- include "svdfarm.guardNames" . -}}
{{- include "svdfarm.guardSecrets" . -}}
{{- include "svdfarm.guardGateway" . -}}
{{- include "svdfarm.guardGroups" . -}}
{{- include "svdfarm.guardDrain" . -}}
{{- include "svdfarm.guardModels" . -}}
{{- include "svdfarm.guardNetwork" . -}}
{{- include "svdfarm.guardTls" . -}}
{{- include "svdfarm.guardResources" . -}}
{{- include "svdfarm.guardMonitoring" . -}}
{{- end }}

{{- define "svdfarm.guardNames" -}}
{{- $name := include "svdfarm.fullname" . -}}
{{- if gt (len $name) 42 -}}
{{- fail (printf "the release is called %q, %d characters; 42 leave room for what KubeRay and Kubernetes put behind it. Take a shorter release name, or set fullnameOverride." $name (len $name)) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) -}}
{{- fail (printf "the release is called %q; KubeRay allows small letters, digits and hyphens, beginning with a letter. Take another release name, or set fullnameOverride." $name) -}}
{{- end -}}
{{- end }}

{{- define "svdfarm.guardSecrets" -}}
{{- if and .Values.token.existingSecret .Values.token.value -}}
{{- fail "token.existingSecret and token.value are both set; give one of them." -}}
{{- end -}}
{{- if not (or .Values.token.existingSecret .Values.token.value) -}}
{{- fail "the farm needs a token. Make a Secret and name it in token.existingSecret: kubectl create secret generic svdfarm-token --from-literal=token=$(openssl rand -hex 32)" -}}
{{- end -}}
{{- if and .Values.database.existingSecret .Values.database.url -}}
{{- fail "database.existingSecret and database.url are both set; give one of them." -}}
{{- end -}}
{{- end }}

{{- define "svdfarm.guardGateway" -}}
{{- $gateway := .Values.gateway -}}
{{- $sqlite := not (include "svdfarm.onPostgres" .) -}}
{{- if and $sqlite (gt (int $gateway.replicas) 1) -}}
{{- fail (printf "gateway.replicas is %d, and without a database the gateway keeps its jobs in SQLite, where it is alone. Name a PostgreSQL in database.existingSecret, or take 1." (int $gateway.replicas)) -}}
{{- end -}}
{{- if and $sqlite $gateway.autoscaling.enabled -}}
{{- fail "gateway.autoscaling is enabled, and without a database the gateway keeps its jobs in SQLite, where it is alone. Name a PostgreSQL in database.existingSecret, or disable it." -}}
{{- end -}}
{{- if and $gateway.autoscaling.enabled (gt (int $gateway.autoscaling.minReplicas) (int $gateway.autoscaling.maxReplicas)) -}}
{{- fail (printf "gateway.autoscaling.minReplicas is %d, more than maxReplicas, %d." (int $gateway.autoscaling.minReplicas) (int $gateway.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if and (not $sqlite) (not .Values.artifacts.url) (not $gateway.persistence.existingClaim) (ne $gateway.persistence.accessMode "ReadWriteMany") -}}
{{- fail (printf "gateways on PostgreSQL share their images and videos, and gateway.persistence.accessMode is %s, which one node can mount. Name a bucket in artifacts.url, or take ReadWriteMany." $gateway.persistence.accessMode) -}}
{{- end -}}
{{- if and .Values.artifacts.directUpload (not .Values.artifacts.url) -}}
{{- fail "artifacts.directUpload needs a bucket that workers can upload to: name it in artifacts.url." -}}
{{- end -}}
{{- if and $gateway.webhooks.allowPrivate (not $gateway.webhooks.existingSecret) -}}
{{- fail "gateway.webhooks.allowPrivate is set, and without gateway.webhooks.existingSecret there are no webhooks." -}}
{{- end -}}
{{- end }}

{{- define "svdfarm.guardGroups" -}}
{{- $names := list -}}
{{- $leastPods := 0 -}}
{{- range .Values.workers.groups -}}
{{- if has .name $names -}}
{{- fail (printf "workers.groups has two groups called %q; each needs a name of its own." .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- if eq .name "headgroup" -}}
{{- fail "workers.groups has a group called headgroup, which is KubeRay's name for the head; take another." -}}
{{- end -}}
{{- if gt (int .minPods) (int .maxPods) -}}
{{- fail (printf "workers.groups: %s has minPods %d, more than maxPods, %d." .name (int .minPods) (int .maxPods)) -}}
{{- end -}}
{{- if and (eq (int .gpusPerPod) 0) (or .modelOffload (has (.dtype | default "") (list "float16" "bfloat16"))) -}}
{{- fail (printf "workers.groups: %s has no GPU, and modelOffload, float16 or bfloat16 need one." .name) -}}
{{- end -}}
{{- if and (hasPrefix "/" .model) (not (hasPrefix "/models/" .model)) -}}
{{- fail (printf "workers.groups: %s has the model %s; a folder has to lie in the model cache, which is mounted at /models." .name .model) -}}
{{- end -}}
{{- $leastPods = add $leastPods (int .minPods) -}}
{{- end -}}
{{- if and (gt (int .Values.workers.minAvailable) 0) (ge (int .Values.workers.minAvailable) (int $leastPods)) -}}
{{- fail (printf "workers.minAvailable is %d, and there may be no more than %d worker Pods: no node with one of them could ever be drained. Take less, or more minPods." (int .Values.workers.minAvailable) (int $leastPods)) -}}
{{- end -}}
{{- end }}

{{- define "svdfarm.guardDrain" -}}
{{- $workers := .Values.workers -}}
{{- $grace := int $workers.terminationGracePeriodSeconds -}}
{{- $least := add (int $workers.drainSeconds) 30 | int -}}
{{- if lt $grace $least -}}
{{- fail (printf "workers.terminationGracePeriodSeconds is %d; a worker takes up to drainSeconds, %d, to end its shot, and 30 more to be told, to say so and to go. Take %d or more." $grace (int $workers.drainSeconds) $least) -}}
{{- end -}}
{{- if lt (int $workers.upgrade.deletionDelaySeconds) (int $workers.drainSeconds) -}}
{{- fail (printf "workers.upgrade.deletionDelaySeconds is %d, less than drainSeconds, %d: an old cluster would go before its longest shot has ended." (int $workers.upgrade.deletionDelaySeconds) (int $workers.drainSeconds)) -}}
{{- end -}}
{{- range $workers.groups -}}
{{- if and (eq (int .minPods) 0) (lt (int $workers.upgrade.deletionDelaySeconds) 600) -}}
{{- fail (printf "workers.groups: %s may have no Pod, and after an upgrade its first one needs a node, the image and the model; workers.upgrade.deletionDelaySeconds is %d, when the old cluster's Pods go. Take 600 or more, or minPods 1." .name (int $workers.upgrade.deletionDelaySeconds)) -}}
{{- end -}}
{{- end -}}
{{- if eq $workers.upgrade.type "None" -}}
{{- fail "workers.upgrade.type is None: KubeRay would ignore in silence every change of the cluster, a new image too. Take NewCluster; without spare GPUs, delete the RayService before `helm upgrade` (deploy/README.md)." -}}
{{- end -}}
{{- if eq $workers.upgrade.type "NewClusterWithIncrementalUpgrade" -}}
{{- fail "workers.upgrade.type is NewClusterWithIncrementalUpgrade, which moves HTTP requests of Ray Serve step by step; workers of this farm take none, and dial the gateway. Take NewCluster." -}}
{{- end -}}
{{- if and .Values.ray.redis.existingSecret (not .Values.ray.redis.address) -}}
{{- fail "ray.redis.existingSecret is set, and ray.redis.address is not: say which Redis its password is for." -}}
{{- end -}}
{{- end }}

{{- define "svdfarm.guardModels" -}}
{{- $cache := .Values.modelCache -}}
{{- $fetched := include "svdfarm.fetched" . -}}
{{- $onVolume := or $cache.persistence.enabled $cache.persistence.existingClaim -}}
{{- $pods := 0 -}}
{{- $folder := "" -}}
{{- range .Values.workers.groups -}}
{{- $pods = add $pods (int .maxPods) -}}
{{- if hasPrefix "/" .model }}{{ $folder = .model }}{{ end -}}
{{- end -}}
{{- if and $cache.prefetch (not $onVolume) -}}
{{- fail "modelCache.prefetch would fetch into a volume that goes with its Pod: enable modelCache.persistence, or name a claim in modelCache.persistence.existingClaim." -}}
{{- end -}}
{{- if and $cache.prefetch (not $fetched) -}}
{{- fail "modelCache.prefetch is set, and no group serves svd or svd-xt: there is nothing to fetch." -}}
{{- end -}}
{{- if and $cache.persistence.enabled (not $cache.persistence.existingClaim) (ne $cache.persistence.accessMode "ReadWriteMany") (gt (int $pods) 1) -}}
{{- fail (printf "modelCache.persistence.accessMode is %s, which one node can mount, and there may be %d worker Pods. Take ReadWriteMany, or disable modelCache.persistence." $cache.persistence.accessMode (int $pods)) -}}
{{- end -}}
{{- $alone := and $cache.persistence.enabled (not $cache.persistence.existingClaim) (ne $cache.persistence.accessMode "ReadWriteMany") -}}
{{- $group := first .Values.workers.groups -}}
{{- if and $cache.prefetch $alone (gt (int $group.gpusPerPod) 0) (not (or $group.nodeSelector $group.affinity)) -}}
{{- fail (printf "modelCache.prefetch with a volume of one node, %s: the Job asks for no GPU, and may bind the volume to a node that has none, where no worker of %s could ever start. Give that group a nodeSelector or an affinity, or leave prefetch out: its worker fetches the model itself." $cache.persistence.accessMode $group.name) -}}
{{- end -}}
{{- if and $fetched (not $cache.hubToken.existingSecret) (not $cache.persistence.existingClaim) -}}
{{- fail "svd and svd-xt are gated: accept the licence at Hugging Face, make a Secret of a read token and name it in modelCache.hubToken.existingSecret; or name a claim that holds the files in modelCache.persistence.existingClaim." -}}
{{- end -}}
{{- if and $folder (not $cache.persistence.existingClaim) -}}
{{- fail (printf "the model %s is a folder: name the claim that holds it in modelCache.persistence.existingClaim." $folder) -}}
{{- end -}}
{{- range .Values.workers.groups -}}
{{- if and (hasPrefix "/" .model) (eq (int .minPods) 0) -}}
{{- fail (printf "workers.groups: %s may have no Pod, and the gateway learns of the folder %s from a worker that serves it: shots for it would be refused. Take minPods 1." .name .model) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "svdfarm.guardNetwork" -}}
{{- $closed := and .Values.networkPolicy.enabled (not .Values.networkPolicy.clients) -}}
{{- if and $closed (ne .Values.gateway.service.type "ClusterIP") -}}
{{- fail (printf "gateway.service.type is %s, and the NetworkPolicy lets nobody in from outside this namespace: say who may come in networkPolicy.clients, such as [{ipBlock: {cidr: 10.0.0.0/8}}]." .Values.gateway.service.type) -}}
{{- end -}}
{{- range $name, $ingress := dict "ingress" .Values.ingress "web.ingress" .Values.web.ingress -}}
{{- if and $ingress.enabled $closed -}}
{{- fail (printf "%s is enabled, and the NetworkPolicy lets nobody in from outside this namespace: name the ingress controller's namespace in networkPolicy.clients." $name) -}}
{{- end -}}
{{- if and $ingress.enabled (not $ingress.host) -}}
{{- fail (printf "%s is enabled without a host; no path tells farms apart: set %s.host." $name $name) -}}
{{- end -}}
{{- if and $ingress.tls.existingSecret $ingress.tls.clusterIssuer -}}
{{- fail (printf "%s.tls.existingSecret and %s.tls.clusterIssuer are both set; give one of them." $name $name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled .Values.web.ingress.enabled (eq .Values.ingress.host .Values.web.ingress.host) -}}
{{- fail (printf "ingress and web.ingress have the same host, %s, and both have every path of it: give the page a name of its own." .Values.ingress.host) -}}
{{- end -}}
{{- if and .Values.web.ingress.enabled .Values.monitoring.podMonitors.enabled (not .Values.monitoring.podMonitors.token.existingSecret) -}}
{{- fail "web.ingress is enabled, and monitoring.podMonitors has no token: /metrics would be open to whoever finds the page. Name a Secret in monitoring.podMonitors.token.existingSecret." -}}
{{- end -}}
{{- $monitors := .Values.monitoring.podMonitors.enabled -}}
{{- if and $monitors .Values.networkPolicy.enabled (not .Values.networkPolicy.monitoring) -}}
{{- fail "monitoring.podMonitors is enabled, and the NetworkPolicy does not let Prometheus in: name its namespace in networkPolicy.monitoring, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]." -}}
{{- end -}}
{{- end }}

{{- define "svdfarm.guardTls" -}}
{{- $tls := .Values.tls -}}
{{- if and (not $tls.enabled) (or $tls.existingSecret $tls.certManager.issuer $tls.certManager.hosts) -}}
{{- fail "tls.existingSecret or tls.certManager is set, and tls.enabled is not: everything would be sent in plaintext. Set tls.enabled." -}}
{{- end -}}
{{- if and $tls.existingSecret $tls.certManager.issuer -}}
{{- fail "tls.existingSecret and tls.certManager.issuer are both set; give one of them." -}}
{{- end -}}
{{- if and $tls.enabled (not (or $tls.existingSecret $tls.certManager.issuer)) -}}
{{- fail "tls is enabled without a certificate: name a Secret with tls.crt, tls.key and ca.crt in tls.existingSecret, or an issuer of cert-manager's in tls.certManager.issuer." -}}
{{- end -}}
{{- if and $tls.enabled $tls.allowPlaintext -}}
{{- fail "tls.enabled and tls.allowPlaintext are both set; give one of them." -}}
{{- end -}}
{{- if not (or $tls.enabled $tls.allowPlaintext .Values.networkPolicy.enabled) -}}
{{- fail "without TLS and without NetworkPolicies every Pod of the cluster could read tokens and images: enable tls or networkPolicy, or say with tls.allowPlaintext that the network is safe by other means." -}}
{{- end -}}
{{- range $name, $ingress := dict "ingress" .Values.ingress "web.ingress" .Values.web.ingress -}}
{{- if and $tls.enabled $ingress.enabled (not $ingress.annotations) -}}
{{- fail (printf "%s and tls are both enabled, and no annotation tells the controller that the gateway speaks TLS: set %s.annotations, such as {nginx.ingress.kubernetes.io/backend-protocol: %s}." $name $name (ternary "GRPCS" "HTTPS" (eq $name "ingress"))) -}}
{{- end -}}
{{- end -}}
{{- $workers := .Values.token.worker.existingSecret -}}
{{- if and $workers (eq $workers .Values.token.existingSecret) (eq .Values.token.worker.key .Values.token.key) -}}
{{- fail (printf "token.worker.existingSecret and token.existingSecret are the same key of the Secret %s: workers would have the farm's own token." $workers) -}}
{{- end -}}
{{- end }}

{{- define "svdfarm.guardResources" -}}
{{- $of := dict "gateway.resources" .Values.gateway.resources "ray.head.resources" .Values.ray.head.resources "ray.autoscaler.resources" .Values.ray.autoscaler.resources -}}
{{- range $where, $resources := $of -}}
{{- range $name, $request := $resources.requests -}}
{{- $limit := get ($resources.limits | default dict) $name -}}
{{- if $limit -}}
{{- if gt (include "svdfarm.thousandths" $request | int64) (include "svdfarm.thousandths" $limit | int64) -}}
{{- fail (printf "%s requests %s of %s, more than its limit, %s: Kubernetes takes no such Pod." $where (toString $request) $name (toString $limit)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "svdfarm.guardMonitoring" -}}
{{- with .Values.monitoring -}}
{{- if and .podMonitors.enabled (not .podMonitors.token.existingSecret) (not $.Values.networkPolicy.enabled) -}}
{{- fail "monitoring.podMonitors is enabled without NetworkPolicies and without a token: the gateway would tell its metrics to every Pod of the cluster. Name a Secret in monitoring.podMonitors.token.existingSecret, or enable networkPolicy." -}}
{{- end -}}
{{- if and .prometheusRule.enabled (not .podMonitors.enabled) -}}
{{- fail "monitoring.prometheusRule is enabled without monitoring.podMonitors, whose label `farm` its alerts ask for: the first would fire for ever, and the others never. Enable both." -}}
{{- end -}}
{{- if and .dashboard.enabled (not .podMonitors.enabled) -}}
{{- fail "monitoring.dashboard is enabled without monitoring.podMonitors, whose label `farm` it asks for: it would stay empty. Enable both." -}}
{{- end -}}
{{- end -}}
{{- end }}
