{{/* RELEASE-svdfarm, or the release's name where it says svdfarm already. */}}
{{- define "svdfarm.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains .Chart.Name .Release.Name -}}
{{ .Release.Name }}
{{- else -}}
{{ .Release.Name }}-{{ .Chart.Name }}
{{- end -}}
{{- end }}

{{/* Labels of a component: (list $ "gateway"). The first three select it, and never change. */}}
{{- define "svdfarm.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: svdfarm
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "svdfarm.labels" -}}
{{- $root := index . 0 -}}
{{ include "svdfarm.selector" . }}
app.kubernetes.io/part-of: svdfarm
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
{{- end }}

{{- define "svdfarm.metadata" -}}
{{- $root := index . 0 -}}
{{- $suffix := index . 2 -}}
name: {{ printf "%s%s" (include "svdfarm.fullname" $root) $suffix | quote }}
namespace: {{ $root.Release.Namespace | quote }}
labels: {{- include "svdfarm.labels" (list $root (index . 1)) | nindent 2 }}
{{- end }}

{{/* (list $ .Values.images.gateway): registry/repository:tag or @digest. */}}
{{- define "svdfarm.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.images.registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* Where users come to, and where workers do. */}}
{{- define "svdfarm.usersAddress" -}}
{{ include "svdfarm.scheme" . }}{{ include "svdfarm.fullname" . }}-gateway.{{ .Release.Namespace }}.svc:50051
{{- end }}

{{- define "svdfarm.workersAddress" -}}
{{ include "svdfarm.scheme" . }}{{ include "svdfarm.fullname" . }}-gateway-workers.{{ .Release.Namespace }}.svc:50052
{{- end }}

{{- define "svdfarm.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "svdfarm.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* One variable from a Secret: (list NAME SECRET KEY). */}}
{{- define "svdfarm.secretVariable" -}}
- name: {{ index . 0 }}
  valueFrom: {secretKeyRef: {name: {{ index . 1 | quote }}, key: {{ index . 2 | quote }}}}
{{- end }}

{{- define "svdfarm.tokenVariable" -}}
{{- $own := printf "%s-token" (include "svdfarm.fullname" .) -}}
{{- $secret := .Values.token.existingSecret | default $own -}}
{{- include "svdfarm.secretVariable" (list "FARM_TOKEN" $secret .Values.token.key) -}}
{{- end }}

{{/* What workers and Ray's head show: a token of their own, where there is one. */}}
{{- define "svdfarm.workerTokenVariable" -}}
{{- with .Values.token.worker -}}
{{- if .existingSecret -}}
{{- include "svdfarm.secretVariable" (list "FARM_WORKER_TOKEN" .existingSecret .key) -}}
{{- else -}}
{{- include "svdfarm.tokenVariable" $ -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Not empty where gateways share a PostgreSQL. */}}
{{- define "svdfarm.onPostgres" -}}
{{- if or .Values.database.url .Values.database.existingSecret }}yes{{ end -}}
{{- end }}

{{/* Not empty where the gateway keeps something in its folder that must stay. */}}
{{- define "svdfarm.gatewayKeeps" -}}
{{- if not (and (include "svdfarm.onPostgres" .) .Values.artifacts.url) }}yes{{ end -}}
{{- end }}

{{/* Workers of a Pod of a group: one a GPU, on a CPU one. */}}
{{- define "svdfarm.workersPerPod" -}}
{{ max 1 (int .gpusPerPod) }}
{{- end }}

{{/* Not empty where Ray has to start and end Pods. */}}
{{- define "svdfarm.autoscales" -}}
{{- range .Values.workers.groups }}{{ if ne (int .minPods) (int .maxPods) }}yes{{ end }}{{ end -}}
{{- end }}

{{/* The models that have to be fetched, as `NAME DTYPE` a line. */}}
{{- define "svdfarm.fetched" -}}
{{- $found := list -}}
{{- range .Values.workers.groups -}}
{{- if has .model (list "svd" "svd-xt") -}}
{{- $half := or (eq (.dtype | default "") "float16") (and (not .dtype) (gt (int .gpusPerPod) 0)) -}}
{{- $found = append $found (printf "%s %s" .model (ternary "float16" "float32" $half)) -}}
{{- end -}}
{{- end -}}
{{- $found | uniq | join "\n" -}}
{{- end }}

{{/* Changes with a secret that this chart makes, so that Pods which read it are replaced. */}}
{{- define "svdfarm.secretsSum" -}}
{{- with .Values -}}
{{- if or .token.value .database.url -}}
svdfarm/secrets: {{ printf "%s %s" .token.value .database.url | sha256sum | trunc 16 | quote }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What tells this farm's metrics from those of another one. */}}
{{- define "svdfarm.farm" -}}
{{ .Release.Namespace }}/{{ include "svdfarm.fullname" . }}
{{- end }}

{{/* A quantity of Kubernetes as a whole number of thousandths. */}}
{{- define "svdfarm.thousandths" -}}
{{- $digits := regexFind "^[0-9.]+" (toString .) -}}
{{- $unit := trimPrefix $digits (toString .) -}}
{{- $units := dict "m" 1.0 "none" 1e3 "k" 1e6 "M" 1e9 "G" 1e12 "T" 1e15 "Ki" 1024e3 "Mi" 1048576e3 "Gi" 1073741824e3 "Ti" 1099511627776e3 -}}
{{- mulf (float64 $digits) (get $units ($unit | default "none")) | int64 -}}
{{- end }}
