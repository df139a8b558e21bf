{{/* A way in to a port of the gateway's Service: root, its values, what follows the name, the port. */}}
{{- define "svdfarm.ingress" -}}
{{- $root := index . 0 -}}
{{- $suffix := index . 2 -}}
{{- $port := index . 3 -}}
{{- with index . 1 }}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  {{- include "svdfarm.metadata" (list $root "gateway" $suffix) | nindent 2 }}
  {{- $annotations := .annotations }}
  {{- with .tls.clusterIssuer }}
  {{- $annotations = merge (dict "cert-manager.io/cluster-issuer" .) $annotations }}
  {{- end }}
  {{- with $annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .className }}
  ingressClassName: {{ . | quote }}
  {{- end }}
  {{- if or .tls.existingSecret .tls.clusterIssuer }}
  tls:
    - hosts: [{{ .host | quote }}]
      secretName: {{ .tls.existingSecret | default (printf "%s%s-tls" (include "svdfarm.fullname" $root) $suffix) | quote }}
  {{- end }}
  rules:
    - host: {{ .host | quote }}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: {{ include "svdfarm.fullname" $root }}-gateway
                port: {name: {{ $port }}}
{{- end }}
{{- end }}
