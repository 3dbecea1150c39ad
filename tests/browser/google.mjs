// A stand-in for Google Identity Services on accounts.google.com: the script with its button, the account chooser, and
// in redirect mode the form that the chooser posts to the login_uri. Pages see what Google documents; the rest is
// invented.

import fs from 'node:fs';
import https from 'node:https';
import { CLIENT_ID, idToken } from '../proxies/stack.mjs';

const account = (sub, email, name, more) => ({ sub, email, email_verified: true, name, ...more });
const picture = 'https://lh3.googleusercontent.com/a/picture';

/** The accounts. Google would never issue the last one's values, but pages must withstand them. */
export const PEOPLE = {
  ada: account('201', 'ada@example.com', 'Ada Løvelace', { hd: 'example.com', picture }),
  grace: account('202', 'grace@example.com', 'Grace Hopper', { hd: 'example.com' }),
  pat: account('203', 'pat.outsider@gmail.com', 'Pat Outsider'),
  long: account('204', `${'a-very-long-address-without-any-break'.repeat(2)}@example.com`,
    'Wolfeschlegelsteinhausenbergerdorffwelchevoralternwarengewissenhaftschaferswessenschafewarenwohlgepflege',
    { hd: 'example.com' }),
  script: account('205', '"><img src=x onerror=alert(2)>@example.com', '<script>alert(1)</script>', {
    given_name: '<b>bold</b>', hd: 'example.com',
    picture: 'https://lh3.googleusercontent.com/"><script>alert(3)</script>',
  }),
};

// Runs in the page, like Google's script.
function client() {
  const base = 'https://accounts.google.com/gsi';
  let settings = {};
  const choose = (state) => {
    const query = new URLSearchParams({ client_id: settings.client_id, ux_mode: settings.ux_mode ?? 'popup' });
    if (settings.nonce) query.set('nonce', settings.nonce);
    if (settings.ux_mode !== 'redirect') {
      query.set('origin', location.origin);
      window.open(`${base}/select?${query}`, 'google', 'width=500,height=600');
      return;
    }
    const token = Math.random().toString(36).slice(2);
    // Google's post is cross-site, so the cookie cannot be SameSite=Lax. The exact attributes are an assumption.
    document.cookie = `g_csrf_token=${token}; Path=/${location.protocol === 'https:' ? '; SameSite=None; Secure' : ''}`;
    query.set('login_uri', settings.login_uri);
    query.set('g_csrf_token', token);
    if (state) query.set('state', state);
    location.assign(`${base}/select?${query}`);
  };
  const renderButton = (place, { state } = {}) => {
    const frame = document.createElement('iframe');
    frame.src = `${base}/button?client_id=${settings.client_id}`;
    Object.assign(frame, { title: 'Sign in with Google Button', width: 220, height: 44, frameBorder: 0 });
    place.append(frame);
    addEventListener('message', (event) => {
      if (event.source === frame.contentWindow && event.data === 'clicked') choose(state);
    });
  };
  addEventListener('message', ({ origin, data }) => {
    if (origin === 'https://accounts.google.com' && data.credential) {
      settings.callback({ credential: data.credential, select_by: 'btn', client_id: settings.client_id });
    }
  });
  const sheet = document.createElement('link');
  Object.assign(sheet, { rel: 'stylesheet', href: `${base}/style` });
  document.head.append(sheet);
  fetch(`${base}/status?client_id=x`, { credentials: 'include', mode: 'no-cors' });
  const initialize = (given) => { settings = given; };
  const disableAutoSelect = () => { window.autoSelectDisabled = true; };
  window.google = { accounts: { id: { initialize, renderButton, disableAutoSelect } } };
  window.onGoogleLibraryLoad?.();
  const onload = document.querySelector('#g_id_onload');
  if (onload) {
    const { client_id, login_uri, ux_mode } = onload.dataset;
    initialize({ client_id, login_uri, ux_mode });
    document.querySelectorAll('.g_id_signin').forEach((place) => renderButton(place, place.dataset));
  }
}

const BUTTON = `<!doctype html><title>Button</title><style>body{margin:0}button{font:14px sans-serif;height:40px;
width:216px;border:1px solid #747775;border-radius:4px;background:#fff;color:#1f1f1f}</style>
<button onclick="parent.postMessage('clicked', '*')">Sign in with Google</button>`;

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

function chooser(query, loginUris) {
  const value = (name) => query.get(name);
  const redirect = value('ux_mode') === 'redirect';
  if (value('client_id') !== CLIENT_ID) return '<h1>Error 401: invalid_client</h1>';
  if (redirect && !loginUris.includes(value('login_uri'))) return '<h1>Error 400: redirect_uri_mismatch</h1>';
  const field = (name, content) => `<input type="hidden" name="${name}" value="${escape(content)}">`;
  const forms = Object.entries(PEOPLE).map(([name, person]) => {
    const credential = idToken(person, value('nonce') ? { nonce: value('nonce') } : {});
    if (!redirect) {
      const message = escape(JSON.stringify({ credential }));
      const click = `opener.postMessage(${message}, '${escape(value('origin'))}'); window.close()`;
      return `<button id="${name}" onclick="${click}">${escape(person.name)}</button>`;
    }
    const fields = [['credential', credential], ['g_csrf_token', value('g_csrf_token')], ['client_id', CLIENT_ID],
      ['select_by', 'btn'], ...(query.has('state') ? [['state', value('state')]] : [])];
    return `<form method="post" action="${escape(value('login_uri'))}">${fields.map((f) => field(...f)).join('')}
      <button id="${name}">${escape(person.name)}</button></form>`;
  });
  return `<!doctype html><title>Choose an account</title><h1>Choose an account</h1>${forms.join('')}`;
}

/** Starts the stand-in; `loginUris` are the redirect URIs registered for the client ID. */
export async function accounts(stack, loginUris) {
  const { cert, key } = stack.certificate();
  const tls = { cert: fs.readFileSync(cert), key: fs.readFileSync(key) };
  const server = https.createServer(tls, (request, response) => {
    const url = new URL(request.url, 'https://accounts.google.com');
    const answer = (type, body) => response.writeHead(200, { 'Content-Type': type }).end(body);
    switch (url.pathname) {
      case '/gsi/client': return answer('text/javascript', `(${client})()`);
      case '/gsi/style': return answer('text/css', '.g_id_signin { display: block }');
      case '/gsi/status': return answer('application/json', '{}');
      case '/gsi/button': return answer('text/html', BUTTON);
      case '/gsi/select': return answer('text/html; charset=utf-8', chooser(url.searchParams, loginUris));
      case '/a/picture': return answer('image/svg+xml', `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">
        <rect width="64" height="64" fill="#c96"/><circle cx="32" cy="26" r="12" fill="#fff"/></svg>`);
      default: return response.writeHead(404).end();
    }
  });
  return stack.listen(server);
}
