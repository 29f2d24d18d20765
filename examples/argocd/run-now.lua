-- The action "run-now" of an Export, for Argo CD: a new value of this annotation starts one run.

local os = require("os")
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["lakegate.dev/requestedAt"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
