-- Hallpass for HAProxy: asks Hallpass about a request, gives the app the identity, and keeps the
-- session from the app. haproxy.cfg shows how to use it. Nothing here needs to be changed.

-- The headers that Hallpass reads on a check. haproxy.cfg has set the last three.
local ASKED = { "accept", "authorization", "sec-fetch-dest", "sec-fetch-mode", "user-agent", "x-requested-with",
    "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host" }
-- The headers of its answer that the app gets.
local IDENTITY = { "x-auth-request-user", "x-auth-request-email", "x-auth-request-preferred-username",
    "remote-user", "remote-email", "remote-name", "x-forwarded-user", "x-hallpass-assertion" }
-- HAProxy writes these itself.
local HOP_BY_HOP = { ["connection"] = true, ["content-length"] = true, ["keep-alive"] = true,
    ["transfer-encoding"] = true }

-- HAProxy's lists of values begin at 0.
local function list(values)
    local all = {}
    for i = 0, values and #values or -1 do all[#all + 1] = values[i] end
    return all
end

-- The cookies of Hallpass, and those of the app.
local function cookies(headers)
    local own, others = {}, {}
    for _, line in ipairs(list(headers["cookie"])) do
        for cookie in line:gmatch("[^;]+") do
            local name = cookie:match("^%s*([^=]-)%s*=") or ""
            local is_own = name == "hallpass" or name == "__Host-hallpass" or name == "__Secure-hallpass"
            table.insert(is_own and own or others, cookie)
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
local function hide_session(txn, headers)
    local own, others = cookies(headers)
    if #own > 0 then
        txn.http:req_del_header("cookie")
        local left = table.concat(others, ";"):gsub("^%s+", "")
        if left ~= "" then txn.http:req_set_header("cookie", left) end
    end
    for _, value in ipairs(list(headers["authorization"])) do
        if is_own_credential(value) then txn.http:req_del_header("authorization") end
    end
end

-- haproxy.cfg refuses every request for which this was not called.
local function pass(txn)
    txn:set_var("txn.hallpass", true)
end

core.register_action("hallpass", { "http-req" }, function(txn, url)
    local headers = txn.http:req_get_headers()
    -- The check carries only Hallpass's own cookies, because the app's may be larger than it accepts.
    local ask = { ["cookie"] = { (table.concat(cookies(headers), ";")) } }
    for _, name in ipairs(ASKED) do ask[name] = list(headers[name]) end
    local method = txn.f:method()
    ask["x-forwarded-method"] = { method }
    ask["x-forwarded-uri"] = { txn.f:pathq() }
    local answer = core.httpclient():get({ url = url, headers = ask })
    if answer and answer.status == 200 then
        for _, name in ipairs(IDENTITY) do
            local value = list(answer.headers[name])[1]
            if value and value ~= "" then txn.http:req_set_header(name, value) end
        end
        hide_session(txn, headers)
        return pass(txn)
    end
    -- The redirect to the sign-in page, or the page or JSON that says why not.
    local reply = txn:reply()
    reply:set_status(answer and answer.status or 503, answer and answer.reason or "Service Unavailable")
    for name, values in pairs(answer and answer.headers or {}) do
        if not HOP_BY_HOP[name] then
            for _, value in ipairs(list(values)) do reply:add_header(name, value) end
        end
    end
    if answer and answer.body and method ~= "HEAD" then reply:set_body(answer.body) end
    txn:done(reply)
end, 1)

-- A request that everybody may make. The app gets no session either.
core.register_action("hallpass_public", { "http-req" }, function(txn)
    hide_session(txn, txn.http:req_get_headers())
    pass(txn)
end, 0)
