{{/* What all pods of ours have in common: no root, nothing written but to /tmp, no rights in the Kubernetes API. */}}
{{- define "pod" -}}
enableServiceLinks: false
terminationGracePeriodSeconds: 120
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid | default 10001 }}
  runAsGroup: {{ .uid | default 10001 }}
  fsGroup: {{ .uid | default 10001 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- end }}

{{- define "container" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "environment" -}}
{{- with .Values.postgresql -}}
- name: DAGSTER_POSTGRES_URL
  value: {{ printf "postgresql+psycopg2://%s@%s:%v/%s?%s" .username .host .port .database .options | quote }}
- name: PGPASSWORD
  valueFrom: {secretKeyRef: {name: readiness-postgresql, key: password}}
{{- end }}
{{- end }}

{{/* Labels of a role: of its objects, and by which its pods are found. */}}
{{- define "labels" -}}
app.kubernetes.io/name: readiness
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* What a run of a location sees, and it alone: home, settings, its keys; the restricted one landing, the release one
the folder that the API serves. */}}
{{- define "volumes" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 2Gi}
- name: home
  persistentVolumeClaim: {claimName: readiness-home}
- name: settings
  configMap: {name: readiness-settings, optional: true}
{{- if eq .location "restricted" }}
- name: landing
  persistentVolumeClaim: {claimName: readiness-landing}
{{- else if .root.Values.api.enabled }}
- name: published
  persistentVolumeClaim: {claimName: readiness-published}
{{- end }}
{{- end }}

{{- define "mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: home, mountPath: /data/home}
- {name: settings, mountPath: /etc/readiness, readOnly: true}
{{- if and (eq .location "release") .root.Values.api.enabled }}
- {name: published, mountPath: /data/published}
{{- end }}
{{- end }}

{{- define "run" -}}
{{- $location := .location -}}
container_config:
  {{- include "container" .root | nindent 2 }}
  env: {{- include "environment" .root | nindent 4 }}
  envFrom: {{- include "settings" $location | nindent 4 }}
  resources: {{ index .root.Values.resources $location | toJson }}
  volumeMounts:
    {{- include "mounts" . | nindent 4 }}
    - {name: keys, mountPath: /run/keys, readOnly: true}
    {{- if eq $location "restricted" }}
    - {name: landing, mountPath: /data/landing}
    {{- end }}
pod_spec_config:
  {{- include "pod" .root | nindent 2 }}
  automountServiceAccountToken: false
  restartPolicy: Never
  volumes:
    {{- include "volumes" . | nindent 4 }}
    - name: keys
      secret: {secretName: readiness-keys, defaultMode: 0440}
{{- end }}

{{/* Settings of a location by name, such as READINESS_RETENTION; the release has the URL of its ledger. */}}
{{- define "settings" -}}
- configMapRef: {name: readiness-environment, optional: true}
{{- if eq . "release" }}
- secretRef: {name: readiness-ledger}
{{- end }}
{{- end }}

{{/* Probes of a pod that serves, from what asks whether it works: ten minutes to begin, then a look each minute. A server
that does not answer for five minutes is started again, which ends no run: runs have pods of their own. */}}
{{- define "probes" -}}
startupProbe:
  {{- . | nindent 2 }}
  periodSeconds: 20
  timeoutSeconds: 30
  failureThreshold: 30
readinessProbe:
  {{- . | nindent 2 }}
  periodSeconds: 60
  timeoutSeconds: 30
livenessProbe:
  {{- . | nindent 2 }}
  periodSeconds: 60
  timeoutSeconds: 30
  failureThreshold: 5
{{- end }}
