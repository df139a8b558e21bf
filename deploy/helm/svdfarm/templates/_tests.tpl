{{/* A Pod of `helm test` that runs files/tests/NAME.py: (list $ NAME TIMEOUT_S). */}}
{{- define "svdfarm.test" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
apiVersion: v1
kind: Pod
metadata:
  {{- include "svdfarm.metadata" (list $root "test" (printf "-test-%s" $name)) | nindent 2 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  restartPolicy: Never
  activeDeadlineSeconds: {{ index . 2 }}
  serviceAccountName: {{ include "svdfarm.fullname" $root | quote }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext: {{- include "svdfarm.podSecurity" $root | nindent 4 }}
  containers:
    - name: {{ $name }}
      image: {{ include "svdfarm.image" (list $root $root.Values.images.gateway) | quote }}
      imagePullPolicy: {{ $root.Values.images.pullPolicy }}
      command: [python, -c]
      args:
        - |
          {{- $root.Files.Get (printf "files/tests/%s.py" $name) | trim | nindent 10 }}
      env:
        - {name: HOME, value: /tmp}
        - {name: FARM_ADDRESS, value: {{ include "svdfarm.usersAddress" $root | quote }}}
        - {name: MODEL, value: {{ base (first $root.Values.workers.groups).model | quote }}}
        {{- include "svdfarm.callerVariables" $root | nindent 8 }}
        {{- include "svdfarm.tokenVariable" $root | nindent 8 }}
      resources:
        requests: {cpu: 100m, memory: 256Mi}
        limits: {cpu: "1", memory: 512Mi}
      securityContext: {{- include "svdfarm.containerSecurity" $root | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if $root.Values.tls.enabled }}
        - {name: tls, mountPath: /tls, readOnly: true}
        {{- end }}
  volumes:
    {{- if $root.Values.tls.enabled }}
    - {{- include "svdfarm.caVolume" $root | nindent 6 }}
    {{- end }}
    - name: tmp
      emptyDir: {sizeLimit: 1Gi}
{{- end }}
