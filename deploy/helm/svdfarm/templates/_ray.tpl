{{/* One Serve application a group; what is changed here is applied without a new cluster. */}}
{{- define "svdfarm.serveConfig" -}}
proxy_location: HeadOnly
applications:
{{- range .Values.workers.groups }}
{{- $perPod := int (include "svdfarm.workersPerPod" .) }}
  - name: {{ printf "svdfarm-%s" .name | quote }}
    import_path: farm.cluster.service:build
    route_prefix: {{ printf "/%s" .name | quote }}
    args:
      gateway: {{ include "svdfarm.workersAddress" $ | quote }}
      group: {{ .name | quote }}
      model: {{ .model | quote }}
      {{- with .dtype }}
      dtype: {{ . }}
      {{- end }}
      engine: {{ .engine | default "default" }}
      gpus: {{ ternary 1 0 (gt (int .gpusPerPod) 0) }}
      cpus: {{ .cpusPerWorker }}
      min_workers: {{ mul (int .minPods) $perPod }}
      max_workers: {{ mul (int .maxPods) $perPod }}
      idle_s: {{ int (.idleSeconds | default 300) }}
      drain_s: {{ int $.Values.workers.drainSeconds }}
      model_offload: {{ .modelOffload | default false }}
      forward_chunking: {{ .forwardChunking | default false }}
{{- end }}
{{- end }}

{{/* What Ray's processes find in their environment, head and workers. */}}
{{- define "svdfarm.rayVariables" -}}
- {name: RAY_USAGE_STATS_ENABLED, value: "0"}
- {name: RAY_ENABLE_UV_RUN_RUNTIME_ENV, value: "0"}
# Serve's own limit of failed starts, a replica; the application's is as high.
- {name: RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT, value: "1000000"}
- {name: HOME, value: /tmp}
# Of the hooks in files/hooks.
- {name: DRAIN_SECONDS, value: {{ int .Values.workers.drainSeconds | quote }}}
{{- with .Values.monitoring.traces.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{ include "svdfarm.callerVariables" . }}
{{ include "svdfarm.workerTokenVariable" . }}
{{- end }}

{{/* The part of a head's or a worker's Pod that is the same. */}}
{{- define "svdfarm.rayPod" -}}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ int .Values.workers.terminationGracePeriodSeconds }}
securityContext: {{- include "svdfarm.podSecurity" . | nindent 2 }}
{{- end }}

{{- define "svdfarm.rayHead" -}}
metadata:
  labels: {{- include "svdfarm.selector" (list . "ray-head") | nindent 4 }}
  {{- with include "svdfarm.secretsSum" . }}
  annotations: {{- . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ printf "%s-ray-head" (include "svdfarm.fullname" .) | quote }}
  automountServiceAccountToken: {{ include "svdfarm.autoscales" . | ne "" }}
  {{- include "svdfarm.rayPod" . | nindent 2 }}
  containers:
    - name: ray-head
      image: {{ include "svdfarm.image" (list . .Values.images.worker) | quote }}
      imagePullPolicy: {{ .Values.images.pullPolicy }}
      env: {{- include "svdfarm.rayVariables" . | nindent 8 }}
      ports:
        - {name: gcs-server, containerPort: 6379}
        - {name: dashboard, containerPort: 8265}
        - {name: client, containerPort: 10001}
        - {name: serve, containerPort: 8000}
        - {name: metrics, containerPort: 8080}
        - {name: as-metrics, containerPort: 44217}
        - {name: dash-metrics, containerPort: 44227}
      lifecycle:
        preStop:
          {{- if .Values.ray.redis.address }}
          # Workers outlive a head whose state is in Redis. A cluster is deleted head and workers at once, though, and
          # without a head they could not end their shots.
          sleep: {seconds: {{ add (int .Values.workers.drainSeconds) 20 }}}
          {{- else }}
          exec:
            command:
              - bash
              - -c
              - |
                {{- .Files.Get "files/hooks/head-stop.sh" | trim | nindent 16 }}
          {{- end }}
      resources: {{- toYaml .Values.ray.head.resources | nindent 8 }}
      securityContext: {{- include "svdfarm.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if .Values.tls.enabled }}
        - {name: tls, mountPath: /tls, readOnly: true}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 10Gi}
    {{- if .Values.tls.enabled }}
    - {{- include "svdfarm.caVolume" . | nindent 6 }}
    {{- end }}
  {{- with .Values.ray.head.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.ray.head.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.ray.head.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
{{- end }}

{{/* Of a group's Pod. */}}
{{- define "svdfarm.workerResources" -}}
{{- $perPod := int (include "svdfarm.workersPerPod" .) -}}
cpu: {{ mul (int .cpusPerWorker) $perPod }}
memory: {{ mul (int .memoryGiBPerWorker) $perPod }}Gi
{{- if gt (int .gpusPerPod) 0 }}
nvidia.com/gpu: {{ int .gpusPerPod }}
{{- end }}
{{- end }}

{{/* A group's Pod: (list $ group). */}}
{{- define "svdfarm.rayWorker" -}}
{{- $root := index . 0 -}}
{{- $group := index . 1 -}}
metadata:
  labels: {{- include "svdfarm.selector" (list $root "ray-worker") | nindent 4 }}
  annotations:
    {{- with include "svdfarm.secretsSum" $root }}
    {{- . | nindent 4 }}
    {{- end }}
    # KubeRay ignores a change of nothing but these; here it makes a new cluster of it.
    svdfarm/pods: {{ printf "%d-%d" (int $group.minPods) (int $group.maxPods) | quote }}
    svdfarm/tolerations: {{ $group.tolerations | default list | toJson | sha256sum | trunc 16 | quote }}
spec:
  serviceAccountName: {{ include "svdfarm.fullname" $root | quote }}
  automountServiceAccountToken: false
  {{- include "svdfarm.rayPod" $root | nindent 2 }}
  containers:
    - name: ray-worker
      image: {{ include "svdfarm.image" (list $root $root.Values.images.worker) | quote }}
      imagePullPolicy: {{ $root.Values.images.pullPolicy }}
      env:
        {{- include "svdfarm.rayVariables" $root | nindent 8 }}
        - {name: RAY_worker_niceness, value: "0"}
        # Where a container is stopped without its preStop, Ray drains its node by itself, for so long.
        - name: RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S
          value: {{ add (int $root.Values.workers.drainSeconds) 10 | quote }}
        - {name: FARM_ADDRESS, value: {{ include "svdfarm.usersAddress" $root | quote }}}
        - {name: HF_HUB_CACHE, value: /models}
        # Hashes of the models' files, and what `engine: compiled` compiled.
        - {name: XDG_CACHE_HOME, value: {{ ternary "/models/cache" "/tmp/cache" $root.Values.modelCache.keepCompiled }}}
        {{- with $root.Values.modelCache.hubToken }}
        {{- if .existingSecret }}
        {{- include "svdfarm.secretVariable" (list "HF_TOKEN" .existingSecret .key) | nindent 8 }}
        {{- end }}
        {{- end }}
      ports:
        - {name: metrics, containerPort: 8080}
      # KubeRay's own asks a Serve proxy, which runs on the head alone.
      readinessProbe:
        httpGet: {path: /api/healthz, port: 52365}
        initialDelaySeconds: 10
        timeoutSeconds: 2
        periodSeconds: 5
        failureThreshold: 10
      lifecycle:
        preStop:
          exec:
            command:
              - bash
              - -c
              - |
                {{- $root.Files.Get "files/hooks/worker-stop.sh" | trim | nindent 16 }}
      resources:
        # What Ray is told and what Kubernetes gives are one number: a limit is its request.
        requests: {{- include "svdfarm.workerResources" $group | nindent 10 }}
        limits: {{- include "svdfarm.workerResources" $group | nindent 10 }}
      securityContext: {{- include "svdfarm.containerSecurity" $root | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: models, mountPath: /models}
        {{- if $root.Values.tls.enabled }}
        - {name: tls, mountPath: /tls, readOnly: true}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 20Gi}
    {{- if $root.Values.tls.enabled }}
    - {{- include "svdfarm.caVolume" $root | nindent 6 }}
    {{- end }}
    - name: models
      {{- include "svdfarm.modelVolume" $root | nindent 6 }}
  {{- with $group.runtimeClassName }}
  runtimeClassName: {{ . | quote }}
  {{- end }}
  {{- with $group.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $group.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $group.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $group.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
{{- end }}

{{- define "svdfarm.modelVolume" -}}
{{- with .Values.modelCache -}}
{{- if or .persistence.enabled .persistence.existingClaim -}}
persistentVolumeClaim:
  claimName: {{ .persistence.existingClaim | default (printf "%s-models" (include "svdfarm.fullname" $)) | quote }}
{{- else -}}
emptyDir: {sizeLimit: {{ .sizeLimit }}}
{{- end -}}
{{- end -}}
{{- end }}
