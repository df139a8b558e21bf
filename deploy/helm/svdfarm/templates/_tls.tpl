{{/* The Secret of the gateway's certificate. */}}
{{- define "svdfarm.tlsSecret" -}}
{{ .Values.tls.existingSecret | default (printf "%s-tls" (include "svdfarm.fullname" .)) }}
{{- end }}

{{/* Before addresses that are dialled. */}}
{{- define "svdfarm.scheme" -}}
{{- if .Values.tls.enabled }}grpcs://{{ end -}}
{{- end }}

{{/* What a caller is told: whom to trust, or that the token may be sent as it is. */}}
{{- define "svdfarm.callerVariables" -}}
{{- if .Values.tls.enabled -}}
- {name: FARM_TLS_CA, value: /tls/ca.crt}
{{- else -}}
- {name: FARM_PLAINTEXT, value: "true"}
{{- end -}}
{{- end }}

{{/* Without the key, which callers have no use for. */}}
{{- define "svdfarm.caVolume" -}}
name: tls
secret:
  secretName: {{ include "svdfarm.tlsSecret" . | quote }}
  items: [{key: ca.crt, path: ca.crt}]
{{- end }}

{{/* The names that callers within the cluster, and port-forward, dial. */}}
{{- define "svdfarm.tlsNames" -}}
{{- $name := include "svdfarm.fullname" . -}}
{{- $found := list "localhost" -}}
{{- range list "gateway" "gateway-workers" -}}
{{- $service := printf "%s-%s" $name . -}}
{{- $found = concat $found (list $service (printf "%s.%s" $service $.Release.Namespace) (printf "%s.%s.svc" $service $.Release.Namespace)) -}}
{{- end -}}
{{- concat $found .Values.tls.certManager.hosts | uniq | toJson -}}
{{- end }}
