{{/* Service, StatefulSet and volume of one server without replication. Takes root, name, port, uid, settings, mountPath,
container (YAML of what is special about it) and volumes. */}}
{{- define "orrery.server" -}}
{{- $name := printf "%s-%s" (include "orrery.fullname" .root) .name }}
{{- $component := dict "root" .root "component" .name }}
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  labels:
    {{- include "orrery.labels" $component | nindent 4 }}
spec:
  clusterIP: None
  selector:
    {{- include "orrery.selector" $component | nindent 4 }}
  ports:
    - name: {{ .name }}
      port: {{ .port }}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ $name }}
  labels:
    {{- include "orrery.labels" $component | nindent 4 }}
spec:
  serviceName: {{ $name }}
  replicas: 1
  selector:
    matchLabels:
      {{- include "orrery.selector" $component | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "orrery.selector" $component | nindent 8 }}
      {{- with .annotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 120
      securityContext:
        runAsNonRoot: true
        runAsUser: {{ .uid }}
        runAsGroup: {{ .uid }}
        fsGroup: {{ .uid }}
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: {{ .name }}
          image: {{ .settings.image }}
          {{- .container | nindent 10 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: {{ .readOnly }}
            capabilities:
              drop: [ALL]
          ports:
            - name: {{ .name }}
              containerPort: {{ .port }}
          resources:
            {{- toYaml .settings.resources | nindent 12 }}
          volumeMounts:
            - name: data
              mountPath: {{ .mountPath }}
            - name: tmp
              mountPath: /tmp
            {{- range $volume, $path := .mounts }}
            - name: {{ $volume }}
              mountPath: {{ $path }}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {}
        {{- with .volumes }}
        {{- . | nindent 8 }}
        {{- end }}
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .settings.storage.className }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ .settings.storage.size }}
{{- end }}
