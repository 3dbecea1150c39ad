-- Hallpass for Apache: asks Hallpass about a request, gives the app the identity, and keeps the
-- session from the app. hallpass.conf shows how to use it.

local http = require "socket.http"
local ltn12 = require "ltn12"
http.TIMEOUT = 30  -- seconds

local HALLPASS = "http://127.0.0.1:8080"  -- EDIT: where Hallpass listens
-- Public: the app gets these requests without a check or an identity. Name single paths.
local PUBLIC = { ["/manifest.webmanifest"] = true }  -- EDIT
-- To let preflights from other origins through (see deploy/README.md), write `true`.
local PREFLIGHTS = false
-- For an app that reads another name, such as { ["X-Remote-User"] = "remote-user" }.
local ALSO = {}

-- hallpass.conf names these functions. With allowed_emails and allowed_domains, either suffices.
function app(r)
    return guard(r, "/auth/forward")
end
function staff(r)
    return guard(r, "/auth/forward?allowed_domains=example.com&allowed_emails=grace@partner.example")  -- EDIT
end
-- Hallpass's own pages.
function pages(r)
    strip(r)
    return apache2.OK
end

-- Nothing below needs to be changed.

-- Names that Hallpass and other sign-in servers use and that apps believe, and names that claim where
-- the request came from or where it is going. If your app reads another one, add it.
local FAMILIES = { "x-auth-request-", "remote-", "x-remote-", "x-webauth-", "x-authentik-", "x-vouch-", "tailscale-", "cf-access-",
    "x-authenticated-", "x-goog-authenticated-user-", "x-goog-iap-", "x-amzn-oidc-", "x-ms-client-principal",
    "x-hallpass-", "x-forwarded-", "x-original-", "x-auth-user" }
local NAMES = { "x-email", "x-user", "x-user-email", "x-user-groups", "x-user-id", "x-user-name", "x-user-roles",
    "x-username", "x-auth-email", "x-auth-groups", "x-auth-name", "x-real-ip", "x-rewrite-url", "x-script-name", "forwarded" }
-- The headers that Hallpass reads on a check, and those of its answer that the app gets.
local ASKED = { "Accept", "Authorization", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "User-Agent", "X-Requested-With" }
local IDENTITY = { "X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Preferred-Username", "Remote-User",
    "Remote-Email", "Remote-Name", "X-Forwarded-User", "X-Hallpass-Assertion" }
local HOP_BY_HOP = { ["connection"] = true, ["content-length"] = true, ["keep-alive"] = true,
    ["transfer-encoding"] = true, ["date"] = true, ["server"] = true }

local is_named = {}
for _, name in ipairs(NAMES) do is_named[name] = true end

local function is_forgeable(name)
    -- Many apps treat `Remote_User` and `Remote.User` like `Remote-User`.
    if is_named[name] or name:find("[^a-z0-9-]") then return true end
    for _, family in ipairs(FAMILIES) do
        if name:sub(1, #family) == family then return true end
    end
    return false
end

-- Removes everything in which the client could claim an identity.
function strip(r)
    for name in pairs(r:headers_in_table()) do
        if is_forgeable(name:lower()) then r.headers_in[name] = nil end
    end
    -- WebSockets pass. Other upgrades do not: after `Upgrade: h2c`, the app could get requests that
    -- were never checked. The rest of Connection would make Apache drop the headers that it names,
    -- even the identity.
    if (r.headers_in["Upgrade"] or ""):lower() == "websocket" then
        r.headers_in["Connection"] = "Upgrade"
    else
        r.headers_in["Upgrade"] = nil
        r.headers_in["Connection"] = nil
    end
    r.headers_in["X-Forwarded-Proto"] = "https"
    -- mod_proxy adds X-Forwarded-For and X-Forwarded-Host.
end

-- The cookies of Hallpass, and those of the app. Apache joins lines of cookies with a comma.
local function cookies(line)
    local own, others = {}, {}
    for cookie in line:gsub(",(%s*[%w_-]*hallpass%s*=)", ";%1"):gmatch("[^;]+") do
        local name = cookie:match("^%s*([^=]-)%s*=") or ""
        if name == "hallpass" or name == "__Host-hallpass" or name == "__Secure-hallpass" then
            local value, rest = cookie:match("^([^,]*),?%s*(.*)$")
            table.insert(own, value)
            if rest ~= "" then table.insert(others, rest) end
        else
            table.insert(others, cookie)
        end
    end
    return own, others
end

-- Is it a session or a token of Hallpass? `:hp_` has three forms in base64.
local function is_own_credential(value)
    local lower = value:lower()
    if lower:match('^%s*bearer%s+"?hp_') then return true end
    return lower:match("^%s*basic%s") and (value:match("OmhwX[w-z0-9+/_-]") or value:match("[DTjz]pocF[89+/_-]")
        or value:match("6aHBf")) ~= nil
end

-- An app must not see its visitors' sessions, because it could act as them everywhere else. It keeps
-- its own cookies and its own Authorization.
local function hide_session(r)
    local own, others = cookies(r.headers_in["Cookie"] or "")
    if #own > 0 then
        local left = table.concat(others, ";"):gsub("^%s+", "")
        r.headers_in["Cookie"] = left ~= "" and left or nil
    end
    if is_own_credential(r.headers_in["Authorization"] or "") then r.headers_in["Authorization"] = nil end
end

local function is_public(r)
    local path = r.unparsed_uri:match("^[^?]*")
    return PUBLIC[path] or PREFLIGHTS and r.method == "OPTIONS" and r.headers_in["Origin"]
        and r.headers_in["Access-Control-Request-Method"]
end

function guard(r, check)
    strip(r)
    if is_public(r) then
        hide_session(r)
        return apache2.OK
    end
    -- The check carries only Hallpass's own cookies, because the app's may be larger than it accepts.
    local own = cookies(r.headers_in["Cookie"] or "")
    local ask = {
        ["host"] = r.headers_in["Host"], ["cookie"] = #own > 0 and table.concat(own, ";") or nil,
        ["x-forwarded-for"] = r.useragent_ip, ["x-forwarded-proto"] = "https",
        ["x-forwarded-host"] = r.headers_in["Host"], ["x-forwarded-uri"] = r.unparsed_uri,
        ["x-forwarded-method"] = r.method,
    }
    for _, name in ipairs(ASKED) do ask[name:lower()] = r.headers_in[name] end
    local body = {}
    local _, status, headers = http.request({
        url = HALLPASS .. check, headers = ask, sink = ltn12.sink.table(body), redirect = false,
    })
    if status == 200 then
        for _, name in ipairs(IDENTITY) do
            local value = headers[name:lower()]
            if value and value ~= "" then r.headers_in[name] = value end
        end
        for name, from in pairs(ALSO) do r.headers_in[name] = headers[from] end
        hide_session(r)
        return apache2.OK
    end
    if type(status) ~= "number" then return 503 end
    -- The redirect to the sign-in page, or the page or JSON that says why not.
    r.status = status
    for name, value in pairs(headers) do
        if name == "content-type" then
            r.content_type = value
        elseif not HOP_BY_HOP[name] then
            r.err_headers_out[name] = value
        end
    end
    r:write(table.concat(body))
    return apache2.DONE
end
