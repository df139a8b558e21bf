{{/* Ray's Pods of this release, heads and workers. */}}
{{- define "svdfarm.rayExpressions" -}}
- {key: app.kubernetes.io/instance, operator: In, values: [{{ .Release.Name | quote }}]}
- {key: app.kubernetes.io/component, operator: In, values: [ray-head, ray-worker]}
{{- end }}

{{- define "svdfarm.rayPeers" -}}
- podSelector:
    matchExpressions: {{- include "svdfarm.rayExpressions" . | nindent 6 }}
{{- end }}
