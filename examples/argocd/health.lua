-- Health of every kind of lakegate.dev, for Argo CD. Lua 5.1, with the libraries Argo CD gives: the base and `table`.
-- The order is that of docs/kubernetes.md, "What GitOps tools see".

local function first(list)
  if list == nil then
    return nil
  end
  return list[1]
end

local metadata = obj.metadata or {}
local status = obj.status or {}

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(type, value)
  return conditions[type] ~= nil and conditions[type].status == value
end

local function said(health, type)
  return {status = health, message = conditions[type].message}
end

if metadata.deletionTimestamp ~= nil then
  if first(metadata.finalizers) ~= nil then
    return {status = "Progressing", message = "blocked by finalizers: " .. table.concat(metadata.finalizers, ", ")}
  end
  return {status = "Progressing", message = "being deleted"}
end

-- A status of an older spec, or the -1 of an object that nobody has seen, says nothing about this one.
if status.observedGeneration == nil or status.observedGeneration == -1 then
  return {status = "Progressing", message = "waiting for the operator"}
end
if metadata.generation ~= nil and status.observedGeneration ~= metadata.generation then
  return {status = "Progressing", message = "waiting for the operator to see the newest spec"}
end

if obj.kind == "ExportRun" then
  if is("Failed", "True") then
    return said("Degraded", "Failed")
  end
  if is("Complete", "True") then
    return said("Healthy", "Complete")
  end
  if is("Reconciling", "True") then
    return said("Progressing", "Reconciling")
  end
  return {status = "Progressing", message = "waiting for its turn"}
end

if is("Stalled", "True") then
  return said("Degraded", "Stalled")
end
if is("Reconciling", "True") then
  return said("Progressing", "Reconciling")
end
if is("Suspended", "True") then
  return said("Suspended", "Suspended")
end
-- The last run is bad data, not a bad deployment: a sync goes through, and the application shows it.
if is("LastRunSucceeded", "False") then
  return said("Degraded", "LastRunSucceeded")
end
if is("Ready", "True") then
  return said("Healthy", "Ready")
end
if is("Ready", "False") then
  return said("Degraded", "Ready")
end
return {status = "Progressing", message = "waiting for the operator"}
