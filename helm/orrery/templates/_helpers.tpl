{{/* Short enough for what Kubernetes makes of names: pods of a StatefulSet whose name has more than 52 characters are refused,
and -elasticsearch is added here. */}}
{{- define "orrery.fullname" -}}
{{- if contains "orrery" .Release.Name }}{{ .Release.Name | trunc 38 | trimSuffix "-" }}{{ else }}{{ printf "%s-orrery" .Release.Name | trunc 38 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{/* The services, from the table that their REST paths come from. */}}
{{- define "orrery.services" -}}
{{- .Files.Get "files/services.json" -}}
{{- end }}

{{/* What is configured of a service: its entry over the defaults. Takes root and name. */}}
{{- define "orrery.settings" -}}
{{- mergeOverwrite (deepCopy .root.Values.defaults) (deepCopy (get .root.Values.services .name | default dict)) | toJson -}}
{{- end }}

{{/* Takes root and component. */}}
{{- define "orrery.selector" -}}
app.kubernetes.io/name: orrery
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "orrery.labels" -}}
{{ include "orrery.selector" . }}
app.kubernetes.io/part-of: orrery
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "orrery.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end }}

{{/* A variable from a secret. Takes root, variable, secret and optional. */}}
{{- define "orrery.fromSecret" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret.name | default .root.Values.secrets.existingSecret }}
      key: {{ .secret.key }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end }}

{{/* The environment of a process. Takes root and user, its name on NATS. */}}
{{- define "orrery.env" -}}
{{- $root := .root -}}
{{- $dependencies := $root.Values.dependencies -}}
{{- $secrets := $root.Values.secrets -}}
{{- $fullname := include "orrery.fullname" $root -}}
{{- range $name, $value := $root.Values.config }}
- name: {{ $name }}
  value: {{ (kindIs "float64" $value | ternary (printf "%.0f" (float64 (kindIs "float64" $value | ternary $value 0.0))) (toString $value)) | quote }}
{{- end }}
- name: ORRERY_DATA_DIR
  value: /data
{{ include "orrery.fromSecret" (dict "root" $root "variable" "ORRERY_SECRET_KEY" "secret" $secrets.secretKey) }}
{{- if $dependencies.postgresql.enabled }}
{{ include "orrery.fromSecret" (dict "root" $root "variable" "POSTGRES_PASSWORD" "secret" (dict "key" "POSTGRES_PASSWORD")) }}
- name: DATABASE_URL
  value: postgres://orrery:$(POSTGRES_PASSWORD)@{{ $fullname }}-postgresql:5432/orrery
{{- else }}
{{ include "orrery.fromSecret" (dict "root" $root "variable" "DATABASE_URL" "secret" $secrets.databaseUrl) }}
{{- end }}
{{- if $dependencies.redis.enabled }}
{{ include "orrery.fromSecret" (dict "root" $root "variable" "REDIS_PASSWORD" "secret" (dict "key" "REDIS_PASSWORD")) }}
- name: REDIS_URL
  value: redis://:$(REDIS_PASSWORD)@{{ $fullname }}-redis:6379
{{- else }}
{{ include "orrery.fromSecret" (dict "root" $root "variable" "REDIS_URL" "secret" $secrets.redisUrl) }}
{{- end }}
{{ include "orrery.fromSecret" (dict "root" $root "variable" "NATS_PASSWORD" "secret" (dict "name" $secrets.natsPasswords.name "key" (include "orrery.natsPasswordKey" .user))) }}
{{- $servers := $dependencies.nats.enabled | ternary (list (printf "%s-nats:4222" $fullname)) $root.Values.nats.servers }}
{{- if not $servers }}{{ fail "nats.servers: expected host:port of each server, or dependencies.nats.enabled" }}{{ end }}
{{- $urls := list }}
{{- range $servers }}{{ $urls = append $urls (printf "nats://%s:$(NATS_PASSWORD)@%s" $.user .) }}{{ end }}
- name: NATS_URL
  value: {{ join "," $urls }}
{{- if $dependencies.elasticsearch.enabled }}
{{ include "orrery.fromSecret" (dict "root" $root "variable" "ELASTIC_PASSWORD" "secret" (dict "key" "ELASTIC_PASSWORD")) }}
- name: ELASTICSEARCH_URL
  value: http://elastic:$(ELASTIC_PASSWORD)@{{ $fullname }}-elasticsearch:9200
{{- else }}
{{ include "orrery.fromSecret" (dict "root" $root "variable" "ELASTICSEARCH_URL" "secret" $secrets.elasticsearchUrl "optional" true) }}
{{- end }}
{{ include "orrery.fromSecret" (dict "root" $root "variable" "SMTP_URL" "secret" $secrets.smtpUrl "optional" true) }}
{{- if $root.Values.caCertificates.configMap }}
- name: NODE_EXTRA_CA_CERTS
  value: /ca/ca.pem
{{- end }}
{{- end }}

{{- define "orrery.natsPasswordKey" -}}
NATS_PASSWORD_{{ . | upper | replace "-" "_" }}
{{- end }}

{{/* The port of an http or https URL. */}}
{{- define "orrery.portOf" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end }}

{{- define "orrery.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "orrery.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "orrery.mounts" -}}
- name: data
  mountPath: /data
- name: tmp
  mountPath: /tmp
{{- if .Values.caCertificates.configMap }}
- name: ca
  mountPath: /ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "orrery.volumes" -}}
- name: data
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- with .Values.caCertificates }}
{{- if .configMap }}
- name: ca
  configMap:
    name: {{ .configMap }}
    items:
      - key: {{ .key }}
        path: ca.pem
{{- end }}
{{- end }}
{{- end }}
