{{- define "lakegate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* 50 characters leave room for the suffixes. */ -}}
{{- define "lakegate.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "lakegate.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "lakegate.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "lakegate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lakegate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lakegate.labels" -}}
{{ include "lakegate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: lakegate
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "lakegate.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The watched namespaces, one a line. */ -}}
{{- define "lakegate.namespaces" -}}
{{- range (default (list .Release.Namespace) .Values.watchNamespaces | uniq) }}
{{ . }}
{{- end }}
{{- end }}

{{- /* Name of the service account of (dict "root" $ "component" NAME). */ -}}
{{- define "lakegate.serviceAccountName" -}}
{{- $account := (get .root.Values .component).serviceAccount }}
{{- if $account.name }}
{{- $account.name }}
{{- else if $account.create }}
{{- printf "%s-%s" (include "lakegate.fullname" .root) .component }}
{{- else }}
{{- "default" }}
{{- end }}
{{- end }}

{{- define "lakegate.leaseName" -}}
{{- default (printf "%s-operator" (include "lakegate.fullname" .)) .Values.operator.leaseName }}
{{- end }}

{{- define "lakegate.usersSecretName" -}}
{{- default (printf "%s-users" (include "lakegate.fullname" .)) .Values.gateway.users.secretName }}
{{- end }}

{{- define "lakegate.tlsSecretName" -}}
{{- with .Values.gateway.tls }}
{{- if .secretName }}
{{- .secretName }}
{{- else if .certManager.enabled }}
{{- printf "%s-tls" (include "lakegate.fullname" $) }}
{{- else }}
{{- fail "gateway.tls.enabled needs gateway.tls.secretName or gateway.tls.certManager.enabled" }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Annotations and labels of a Pod of (dict "root" $ "component" NAME "values" COMPONENT). */ -}}
{{- define "lakegate.podMetadata" -}}
{{- with mergeOverwrite (deepCopy .root.Values.podAnnotations) (default dict .values.podAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
labels:
  {{- include "lakegate.selectorLabels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
  app.kubernetes.io/part-of: lakegate
  {{- with mergeOverwrite (deepCopy .root.Values.podLabels) (default dict .values.podLabels) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* What the specs of all Pods begin with. */ -}}
{{- define "lakegate.podSpec" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.hostNetwork }}
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
{{- end }}
securityContext:
  {{- include "lakegate.withoutNulls" .Values.podSecurityContext | nindent 2 }}
enableServiceLinks: false
{{- end }}

{{- define "lakegate.withoutNulls" -}}
{{- $kept := dict }}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{- $_ := set $kept $key $value }}
{{- end }}
{{- end }}
{{- toYaml $kept }}
{{- end }}

{{- /* Where the Pods of (dict "root" $ "component" NAME "values" COMPONENT) run. */ -}}
{{- define "lakegate.placement" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
{{- if .values.affinity }}
  {{- toYaml .values.affinity | nindent 2 }}
{{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "lakegate.selectorLabels" .root | nindent 14 }}
              app.kubernetes.io/component: {{ .component }}
{{- end }}
{{- if .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- $own := dict "matchLabels" (merge (dict "app.kubernetes.io/component" .component) (include "lakegate.selectorLabels" .root | fromYaml)) }}
  {{- range .values.topologySpreadConstraints }}
  - {{- merge (dict) . (dict "labelSelector" $own) | toYaml | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "lakegate.container" -}}
image: {{ include "lakegate.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "lakegate.withoutNulls" .Values.securityContext | nindent 2 }}
{{- end }}

{{- /* Environment of (dict "root" $ "values" COMPONENT). */ -}}
{{- define "lakegate.env" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: LAKEGATE_LOG_FORMAT
  value: {{ .root.Values.logs.format }}
{{- with .root.Values.logs.filter }}
- name: LAKEGATE_LOG
  value: {{ . | quote }}
{{- end }}
{{- with .root.Values.tracing }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
{{- end }}
{{- with .headers.secretName }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.root.Values.tracing.headers.key }}}}
{{- end }}
{{- end }}
{{- with concat .root.Values.extraEnv (default list .values.extraEnv) }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "lakegate.probes" -}}
{{- /* A Pod on its node's network may listen on one address only: that is the one to ask. */}}
{{- $host := and .Values.hostNetwork (ne .Values.bindAddress "0.0.0.0") | ternary (printf "host: %s, " .Values.bindAddress) "" }}
startupProbe:
  httpGet: { {{- $host }}path: /healthz, port: http}
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: { {{- $host }}path: /healthz, port: http}
  periodSeconds: 20
  timeoutSeconds: 5
readinessProbe:
  httpGet: { {{- $host }}path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{- /* `--namespace` for each watched namespace, as arguments. */ -}}
{{- define "lakegate.namespaceArguments" -}}
{{- range splitList "\n" (include "lakegate.namespaces" . | trim) }}
- --namespace={{ . }}
{{- end }}
{{- end }}
