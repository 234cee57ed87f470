{{/* What goes into Alertmanager's own configuration. */}}
{{- define "stanch.alertmanagerConfig" -}}
route:
  routes:
    # First in the tree; what follows goes on as before. What Stanch says of itself is for people.
    - receiver: {{ .Values.alertmanager.receiver | quote }}
      matchers: ['alertname="Watchdog"']
      continue: true
      group_by: [alertname]
      group_interval: 1m
      repeat_interval: 5m
    - receiver: {{ .Values.alertmanager.receiver | quote }}
      matchers: ['alertname!~"Watchdog|Stanch.*"']
      continue: true
      group_by: [alertname, namespace, app]
      group_wait: 10s
      group_interval: 1m
      repeat_interval: 30m
receivers:
  - name: {{ .Values.alertmanager.receiver | quote }}
    webhook_configs:
      - url: {{ include "stanch.url" . }}/api/v1/alerts
        send_resolved: true
        max_alerts: 0
        http_config:
          authorization:
            credentials_file: {{ .Values.alertmanager.credentialsFile }}
{{- end }}
