{{/* What goes into Alertmanager's own configuration. */}}
{{- define "stanch.alertmanagerConfig" -}}
route:
  routes:
    # First in the tree. What Stanch says of itself is for people.
    - receiver: {{ .Values.alertmanager.receiver | quote }}
      matchers: ['alertname="{{ .Values.alertmanager.watchdog }}"']
      continue: true
      group_by: [alertname]
      group_interval: 1m
      repeat_interval: 5m
    - receiver: {{ .Values.alertmanager.receiver | quote }}
      matchers: ['alertname!~"{{ .Values.alertmanager.watchdog }}|Stanch.*"']
      continue: true
      group_by: [alertname, namespace, app]
      group_wait: 10s
      group_interval: 1m
      repeat_interval: 30m
    # Your own routes, as they are. Then, last in the tree: what none of them takes went to the receiver of the
    # route above all, which now hears of it only by a route of its own.
    - receiver: {{ .Values.alertmanager.defaultReceiver | quote }}
receivers:
  - name: {{ .Values.alertmanager.receiver | quote }}
    webhook_configs:
      - url: {{ include "stanch.url" . }}/api/v1/alerts
        send_resolved: true
        max_alerts: 0
        http_config:
          authorization:
            credentials_file: {{ .Values.alertmanager.credentialsFile }}
          {{- if .Values.tls.secret }}
          tls_config:
            ca_file: {{ .Values.alertmanager.tlsFolder }}/ca.crt
            {{- if .Values.tls.clientCAKey }}
            cert_file: {{ .Values.alertmanager.tlsFolder }}/tls.crt
            key_file: {{ .Values.alertmanager.tlsFolder }}/tls.key
            {{- end }}
          {{- end }}
{{- end }}
