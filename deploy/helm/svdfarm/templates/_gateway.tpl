{{/* Where browsers find the page, if the chart can know it. */}}
{{- define "svdfarm.publicUrl" -}}
{{- with .Values.web -}}
{{- if .publicUrl -}}
{{- .publicUrl -}}
{{- else if .ingress.enabled -}}
{{- ternary "https" "http" (or .ingress.tls.existingSecret .ingress.tls.clusterIssuer | not | not) }}://{{ .ingress.host }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The gateway's Pod, of a Deployment or a StatefulSet. */}}
{{- define "svdfarm.gatewayPod" -}}
{{- $name := include "svdfarm.fullname" . -}}
{{- $scheme := ternary "HTTPS" "HTTP" .Values.tls.enabled -}}
metadata:
  labels: {{- include "svdfarm.selector" (list . "gateway") | nindent 4 }}
  {{- with include "svdfarm.secretsSum" . }}
  annotations: {{- . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ $name | quote }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # The preStop, five seconds for calls under way, and the store's last commit.
  terminationGracePeriodSeconds: {{ int .Values.gateway.terminationGracePeriodSeconds }}
  securityContext: {{- include "svdfarm.podSecurity" . | nindent 4 }}
  containers:
    - name: gateway
      image: {{ include "svdfarm.image" (list . .Values.images.gateway) | quote }}
      imagePullPolicy: {{ .Values.images.pullPolicy }}
      # Named, as there may be no worker yet that would tell it: groups start at the first shot of their model.
      args: [gateway, --model, {{ .Values.gateway.defaultModel | default (base (first .Values.workers.groups).model) | quote }}]
      env:
        - {name: FARM_ADDRESS, value: "0.0.0.0:50051"}
        - {name: FARM_WORKER_ADDRESS, value: "0.0.0.0:50052"}
        - {name: FARM_HTTP, value: "0.0.0.0:8080"}
        - {name: FARM_DATA, value: /data}
        - {name: FARM_STALL_TIMEOUT, value: {{ .Values.gateway.stallTimeout | quote }}}
        - {name: FARM_DISK_RESERVE, value: {{ .Values.gateway.diskReserve | quote }}}
        {{- with include "svdfarm.publicUrl" . }}
        - {name: FARM_PUBLIC_URL, value: {{ . | quote }}}
        {{- end }}
        {{- with .Values.web.trustedProxies }}
        - {name: FARM_TRUSTED_PROXIES, value: {{ join "," . | quote }}}
        {{- end }}
        {{- with .Values.gateway.retention }}
        - {name: FARM_RETENTION, value: {{ . | quote }}}
        {{- end }}
        {{- if .Values.tls.enabled }}
        - {name: FARM_TLS_CERT, value: /tls/tls.crt}
        - {name: FARM_TLS_KEY, value: /tls/tls.key}
        {{- else }}
        # Who may come at all is the NetworkPolicy's to say.
        - {name: FARM_PLAINTEXT, value: "true"}
        {{- end }}
        {{- with .Values.monitoring.podMonitors }}
        {{- if and .enabled (not .token.existingSecret) }}
        # Prometheus shows no token; nobody else is let in.
        - {name: FARM_OPEN_METRICS, value: "true"}
        {{- end }}
        {{- end }}
        {{- with .Values.monitoring.traces.endpoint }}
        - {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
        {{- end }}
        {{- include "svdfarm.tokenVariable" . | nindent 8 }}
        {{- if .Values.token.worker.existingSecret }}
        {{- include "svdfarm.workerTokenVariable" . | nindent 8 }}
        {{- end }}
        {{- if include "svdfarm.onPostgres" . }}
        {{- $secret := .Values.database.existingSecret | default (printf "%s-database" $name) }}
        {{- include "svdfarm.secretVariable" (list "FARM_DATABASE" $secret .Values.database.key) | nindent 8 }}
        {{- end }}
        {{- with .Values.artifacts }}
        {{- if .url }}
        - {name: FARM_ARTIFACTS, value: {{ .url | quote }}}
        - {name: FARM_DIRECT_UPLOAD, value: {{ .directUpload | quote }}}
        {{- with .endpoint }}
        - {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
        {{- end }}
        {{- with .region }}
        - {name: AWS_REGION, value: {{ . | quote }}}
        {{- end }}
        {{- if .existingSecret }}
        {{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
        {{- include "svdfarm.secretVariable" (list . $.Values.artifacts.existingSecret .) | nindent 8 }}
        {{- end }}
        {{- end }}
        {{- end }}
        {{- end }}
        {{- with .Values.gateway.webhooks }}
        {{- if .existingSecret }}
        {{- include "svdfarm.secretVariable" (list "FARM_WEBHOOK_SECRET" .existingSecret .key) | nindent 8 }}
        - {name: FARM_WEBHOOK_PRIVATE, value: {{ .allowPrivate | quote }}}
        {{- end }}
        {{- end }}
      ports:
        - {name: grpc, containerPort: 50051}
        - {name: grpc-workers, containerPort: 50052}
        - {name: http, containerPort: 8080}
      # The first start writes the tables, or waits for the gateway that does.
      startupProbe:
        httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
        periodSeconds: 2
        failureThreshold: 150
      readinessProbe:
        {{- if .Values.tls.enabled }}
        # A probe of kubelet's over gRPC speaks no TLS; this answers 503 once the gateway stops.
        httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
        {{- else }}
        grpc: {port: 50051}
        {{- end }}
        periodSeconds: 5
        failureThreshold: 2
      # Generous: a gateway whose disk stalls comes back by itself.
      livenessProbe:
        httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 12
      lifecycle:
        preStop:
          # Until nobody is led here any more.
          sleep: {seconds: 5}
      resources: {{- toYaml .Values.gateway.resources | nindent 8 }}
      securityContext: {{- include "svdfarm.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /data}
        {{- if .Values.tls.enabled }}
        - {name: tls, mountPath: /tls, readOnly: true}
        {{- end }}
        - {name: tmp, mountPath: /tmp}
  volumes:
    {{- if .Values.tls.enabled }}
    - name: tls
      secret: {secretName: {{ include "svdfarm.tlsSecret" . | quote }}, defaultMode: 0440}
    {{- end }}
    - name: tmp
      emptyDir: {sizeLimit: 1Gi}
    - name: data
      {{- if include "svdfarm.gatewayKeeps" . }}
      persistentVolumeClaim:
        claimName: {{ .Values.gateway.persistence.existingClaim | default (printf "%s-gateway" $name) | quote }}
      {{- else }}
      # Images and videos on their way into the bucket; nothing that must outlive the Pod.
      emptyDir: {sizeLimit: {{ .Values.gateway.spoolSize }}}
      {{- end }}
  {{- with .Values.gateway.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.gateway.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.gateway.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.gateway.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- if include "svdfarm.onPostgres" . }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "svdfarm.selector" (list . "gateway") | nindent 10 }}
  {{- end }}
{{- end }}
