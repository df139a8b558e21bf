{{/* Fetches every model that a group serves, and checks its files by their hashes. */}}
{{- define "svdfarm.prefetch" -}}
{{- $group := first .Values.workers.groups -}}
backoffLimit: 6
template:
  metadata:
    labels: {{- include "svdfarm.selector" (list . "models") | nindent 6 }}
  spec:
    restartPolicy: OnFailure
    serviceAccountName: {{ include "svdfarm.fullname" . | quote }}
    automountServiceAccountToken: false
    enableServiceLinks: false
    securityContext: {{- include "svdfarm.podSecurity" . | nindent 6 }}
    containers:
      - name: prefetch
        image: {{ include "svdfarm.image" (list . .Values.images.worker) | quote }}
        imagePullPolicy: {{ .Values.images.pullPolicy }}
        command: [bash, -ec]
        args:
          - |
            {{- range compact (splitList "\n" (include "svdfarm.fetched" .)) }}
            {{- $words := splitList " " . }}
            farm model pull {{ index $words 0 }} --dtype {{ index $words 1 }}
            {{- end }}
        env:
          - {name: HOME, value: /tmp}
          - {name: HF_HUB_CACHE, value: /models}
          - {name: XDG_CACHE_HOME, value: /models/cache}
          {{- with .Values.modelCache.hubToken }}
          {{- if .existingSecret }}
          {{- include "svdfarm.secretVariable" (list "HF_TOKEN" .existingSecret .key) | nindent 10 }}
          {{- end }}
          {{- end }}
        resources:
          requests: {cpu: 500m, memory: 1Gi}
          limits: {cpu: "2", memory: 4Gi}
        securityContext: {{- include "svdfarm.containerSecurity" . | nindent 10 }}
        volumeMounts:
          - {name: tmp, mountPath: /tmp}
          - {name: models, mountPath: /models}
    volumes:
      - name: tmp
        emptyDir: {sizeLimit: 1Gi}
      - name: models
        {{- include "svdfarm.modelVolume" . | nindent 8 }}
    # A volume that one node can mount at a time is wanted where the workers are.
    {{- with $group.nodeSelector }}
    nodeSelector: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $group.tolerations }}
    tolerations: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $group.affinity }}
    affinity: {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end }}
