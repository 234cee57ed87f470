{{/* The files that the service is handed, one list for volumes, mounts and variables: each a name, the variable
that names its file, the Secret or ConfigMap, and the key; without a key the variable names the folder. No mount
is a subPath, so that what changes in a Secret is read again. */}}
{{- define "stanch.files" -}}
{{- $v := .Values }}
{{- $all := list
  (dict "name" "webhook-tokens" "env" "WEBHOOK_TOKEN_FILE" "secret" $v.senders.tokens.secret "key" $v.senders.tokens.key)
  (dict "name" "webhook-users" "env" "WEBHOOK_USERS_FILE" "secret" $v.senders.users.secret "key" $v.senders.users.key)
  (dict "name" "api-tokens" "env" "API_TOKENS_FILE" "secret" $v.people.apiTokens.secret "key" $v.people.apiTokens.key)
  (dict "name" "databases" "env" "DATABASES_FILE" "secret" $v.databases.secret "key" $v.databases.key)
  (dict "name" "endpoints" "env" "ENDPOINTS_FILE" "secret" $v.endpoints.secret "key" $v.endpoints.key)
  (dict "name" "standing" "env" "STANDING_FILE" "secret" $v.security.standingSecret "key" $v.security.standingKey)
  (dict "name" "security-keys" "env" "SECURITY_KEYS" "configMap" $v.security.keysConfigMap)
  (dict "name" "announce-webhook" "env" "ANNOUNCE_WEBHOOK_FILE" "secret" $v.announce.webhook.secret "key" $v.announce.webhook.key)
  (dict "name" "pagerduty" "env" "PAGERDUTY_KEY_FILE" "secret" $v.announce.pagerduty.secret "key" $v.announce.pagerduty.key)
  (dict "name" "tls" "env" "TLS_CERT_FILE" "secret" $v.tls.secret "key" "tls.crt")
}}
{{- $used := list }}
{{- range $all }}{{ if or .secret .configMap }}{{ $used = append $used . }}{{ end }}{{ end }}
{{- dict "items" $used | toJson }}
{{- end }}

{{- define "stanch.policiesVolume" -}}
{{- if .Values.policies.existingConfigMap }}
configMap:
  name: {{ .Values.policies.existingConfigMap }}
{{- else if .Values.policies.files }}
configMap:
  name: {{ include "stanch.fullname" . }}-policies
{{- else if .Values.policies.volume }}
{{- toYaml .Values.policies.volume }}
{{- end }}
{{- end }}

{{- define "stanch.env" -}}
{{- $v := .Values }}
{{- $account := include "stanch.account" . }}
- {name: STANCH_LISTEN, value: "0.0.0.0:8080"}
- {name: STANCH_METRICS_LISTEN, value: "0.0.0.0:9090"}
- {name: STANCH_KUBE_CONTEXT, value: in-cluster}
- {name: STANCH_READER, value: {{ printf "%s-reader" $account | quote }}}
- {name: STANCH_EXECUTOR, value: {{ printf "%s-executor" $account | quote }}}
- {name: STANCH_ISOLATOR, value: {{ printf "%s-isolator" $account | quote }}}
{{- if eq $v.store.kind "postgresql" }}
- name: STANCH_STORE
  valueFrom:
    secretKeyRef:
      name: {{ $v.store.postgresql.secret }}
      key: {{ $v.store.postgresql.key }}
{{- else }}
- {name: STANCH_STORE, value: "sqlite:////var/lib/stanch/stanch.sqlite3"}
{{- end }}
- name: STANCH_PROMETHEUS_URL
  value: {{ required "prometheus.url: name the Prometheus that severity and verification ask" $v.prometheus.url | quote }}
- {name: STANCH_ALERTMANAGER_RECEIVER, value: {{ $v.alertmanager.receiver | quote }}}
- {name: STANCH_SOURCE, value: {{ $v.alertmanager.source | quote }}}
- {name: STANCH_WATCHDOG, value: {{ $v.alertmanager.watchdog | quote }}}
{{- with $v.alertmanager.urls }}
- {name: STANCH_ALERTMANAGER_URLS, value: {{ join "," . | quote }}}
{{- end }}
{{- with $v.cluster.name }}
- {name: STANCH_CLUSTER, value: {{ . | quote }}}
{{- end }}
- {name: STANCH_CLUSTER_LABEL, value: {{ $v.cluster.label | quote }}}
- {name: STANCH_BASE_URL, value: {{ default (include "stanch.url" .) $v.baseURL | quote }}}
{{- with $v.people.tokenAudience }}
- {name: STANCH_TOKEN_AUDIENCE, value: {{ . | quote }}}
{{- end }}
{{- with $v.people.oidc }}
{{- if .issuer }}
- {name: STANCH_OIDC_ISSUER, value: {{ .issuer | quote }}}
- {name: STANCH_OIDC_CLIENT_ID, value: {{ .clientID | quote }}}
- {name: STANCH_OIDC_USERNAME_CLAIM, value: {{ .usernameClaim | quote }}}
{{- with .usernamePrefix }}
- {name: STANCH_OIDC_USERNAME_PREFIX, value: {{ . | quote }}}
{{- end }}
- {name: STANCH_OIDC_GROUPS_CLAIM, value: {{ .groupsClaim | quote }}}
- {name: STANCH_OIDC_GROUPS_PREFIX, value: {{ .groupsPrefix | quote }}}
{{- end }}
{{- end }}
{{- if include "stanch.policiesVolume" . }}
- {name: STANCH_POLICIES, value: /etc/stanch/policies}
{{- end }}
{{- if $v.evidence.enabled }}
- {name: STANCH_EVIDENCE_DIR, value: /var/lib/stanch-evidence}
{{- end }}
{{- with $v.traces.endpoint }}
- {name: STANCH_TRACES_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- range (include "stanch.files" . | fromJson).items }}
- {name: STANCH_{{ .env }}, value: {{ printf "/etc/stanch/%s%s" .name (ternary (printf "/%s" .key) "" (hasKey . "key")) | quote }}}
{{- end }}
{{- if $v.tls.secret }}
- {name: STANCH_TLS_KEY_FILE, value: /etc/stanch/tls/tls.key}
{{- with $v.tls.clientCAKey }}
- {name: STANCH_TLS_CLIENT_CA_FILE, value: {{ printf "/etc/stanch/tls/%s" . | quote }}}
{{- end }}
{{- end }}
{{- range $name, $value := $v.settings }}
- {name: STANCH_{{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "stanch.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: account, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- if eq .Values.store.kind "sqlite" }}
- {name: store, mountPath: /var/lib/stanch}
{{- end }}
{{- if .Values.evidence.enabled }}
- {name: evidence, mountPath: /var/lib/stanch-evidence}
{{- end }}
{{- if include "stanch.policiesVolume" . }}
- {name: policies, mountPath: /etc/stanch/policies, readOnly: true}
{{- end }}
{{- range (include "stanch.files" . | fromJson).items }}
- {name: {{ .name }}, mountPath: /etc/stanch/{{ .name }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "stanch.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{/* The token of the pod's own account, short-lived and read again; none is mounted by itself. */ -}}
- name: account
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3600}
      - configMap:
          name: kube-root-ca.crt
          items:
            - {key: ca.crt, path: ca.crt}
      - downwardAPI:
          items:
            - path: namespace
              fieldRef: {fieldPath: metadata.namespace}
{{- if eq .Values.store.kind "sqlite" }}
- name: store
  persistentVolumeClaim:
    claimName: {{ include "stanch.claim" . }}
{{- end }}
{{- if .Values.evidence.enabled }}
- name: evidence
  persistentVolumeClaim:
    claimName: {{ include "stanch.evidenceClaim" . }}
{{- end }}
{{- with include "stanch.policiesVolume" . }}
- name: policies
  {{- . | nindent 2 }}
{{- end }}
{{- range (include "stanch.files" . | fromJson).items }}
- name: {{ .name }}
  {{- if .secret }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
  {{- else }}
  configMap:
    name: {{ .configMap }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "stanch.ports" }}
{{- range . }}
- {protocol: TCP, port: {{ . }}}
{{- end }}
{{- end }}
