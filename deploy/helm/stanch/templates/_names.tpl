{{/* What things are called. Accounts and Roles carry a word behind the name, so it is cut early. */}}
{{- define "stanch.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "stanch.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "stanch.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "stanch.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Outside our namespace a name says whose it is: two releases may be called the same. */}}
{{- define "stanch.clusterName" -}}
{{- $name := include "stanch.fullname" . }}
{{- if eq $name .Release.Namespace }}{{ $name }}{{ else }}{{ printf "%s-%s" .Release.Namespace $name }}{{ end }}
{{- end }}

{{- define "stanch.selector" -}}
app.kubernetes.io/name: {{ include "stanch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "stanch.labels" -}}
{{ include "stanch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "stanch.account" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "stanch.fullname" .) }}
{{- end }}

{{- define "stanch.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag }}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ $tag }}{{ end }}
{{- end }}

{{- define "stanch.url" -}}
{{- $scheme := ternary "https" "http" (ne .Values.tls.secret "") }}
{{- printf "%s://%s.%s.svc:%v" $scheme (include "stanch.fullname" .) .Release.Namespace .Values.service.port }}
{{- end }}

{{- define "stanch.claim" -}}
{{- default (include "stanch.fullname" .) .Values.store.sqlite.existingClaim }}
{{- end }}

{{- define "stanch.evidenceClaim" -}}
{{- default (printf "%s-evidence" (include "stanch.fullname" .)) .Values.evidence.existingClaim }}
{{- end }}

{{/* The documents of a text such as `stanch rbac` prints, as a list. */}}
{{- define "stanch.roles" -}}
{{- $found := list }}
{{- if .Values.rbac.roles }}
{{- range $text := splitList "\n---" (printf "\n%s" .Values.rbac.roles) }}
{{- $role := fromYaml $text }}
{{- if $role }}{{ $found = append $found $role }}{{ end }}
{{- end }}
{{- else }}
{{- $found = (.Files.Get "files/rbac.json" | fromJson).items }}
{{- end }}
{{- dict "items" $found | toJson }}
{{- end }}
