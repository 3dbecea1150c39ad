// Starts everything for the tests: Hallpass, a stand-in for tokeninfo, an app that answers with
// what it received, and nginx and Caddy with the files of deploy/. The tests of the other proxies start
// theirs. Each is stopped through its own handle, and no port is fixed.

import { spawn, execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const CLIENT_ID = 'test-web.apps.googleusercontent.com';

export const HALLPASS = path.resolve(ROOT, process.env.HALLPASS_BIN ?? 'target/release/hallpass');
if (!fs.existsSync(HALLPASS)) {
  throw new Error(`${HALLPASS} is missing: run \`cargo build --release\`, or set HALLPASS_BIN`);
}
const START_MILLISECONDS = 60_000;

/** Programs to end and folders to remove, even if a test is interrupted. */
const running = new Set();
const folders = new Set();
process.on('exit', () => {
  running.forEach((child) => child.kill('SIGTERM'));
  folders.forEach((folder) => fs.rmSync(folder, { recursive: true, force: true }));
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGPIPE']) process.on(signal, () => process.exit(1));

/** What a test has started. `stop` ends it in reverse order. */
export class Stack {
  #endings = [];
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hallpass-'));

  constructor() {
    folders.add(this.folder);
  }

  /** Calls `end` in `stop`. */
  onStop(end) {
    this.#endings.push(end);
  }

  async stop() {
    for (const end of this.#endings.reverse()) await end();
    fs.rmSync(this.folder, { recursive: true, force: true });
    folders.delete(this.folder);
  }

  file(name, text) {
    const file = path.join(this.folder, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text);
    return file;
  }

  /** Starts a program and waits for `ready`, which gets the program with its output so far. */
  async program(command, args, ready, environment = {}) {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
    const program = { output: '', ended: false };
    running.add(child);
    const exited = new Promise((resolve) => {
      child.on('error', (error) => resolve((program.output += `\n${error.message}`)));
      child.on('exit', resolve);
    }).then(() => {
      program.ended = true;
      running.delete(child);
    });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (program.output += chunk));
    program.stop = async () => {
      if (!program.ended) child.kill('SIGTERM');
      const killer = setTimeout(() => child.kill('SIGKILL'), 5_000);
      await exited;
      clearTimeout(killer);
    };
    program.kill = async () => {
      child.kill('SIGKILL');
      await exited;
    };
    this.onStop(program.stop);
    await until(`${command} is up`, () => {
      if (program.ended) throw new Error(`${command} ended at once:\n${program.output}`);
      return ready(program);
    });
    return program;
  }

  async listen(server, port = 0) {
    await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
    const sockets = new Set();
    for (const event of ['connection', 'secureConnection']) {
      server.on(event, (socket) => {
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket)).on('error', () => {});
      });
    }
    this.onStop(() => {
      sockets.forEach((socket) => socket.destroy());
      return new Promise((resolve) => server.close(resolve));
    });
    return server.address().port;
  }

  /** A self-signed certificate for the hosts of the tests. */
  certificate() {
    const [cert, key] = ['cert.pem', 'key.pem'].map((name) => path.join(this.folder, name));
    if (!fs.existsSync(cert)) {
      const names = 'subjectAltName=DNS:example.com,DNS:*.example.com,DNS:accounts.google.com';
      const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
      execFileSync('openssl', [...request, '-subj', '/CN=test', '-addext', names, '-keyout', key, '-out', cert],
        { stdio: 'ignore' });
    }
    return { cert, key };
  }

  /**
   * A stand-in for tokeninfo, and for Google's keys at `keysUrl`. tokeninfo accepts any signature and
   * returns claims as strings, like Google. `event` makes a security event about a person.
   */
  async google() {
    const google = { down: false, calls: 0 };
    const { publicKey, privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'events', alg: 'RS256', use: 'sig' };
    google.event = (name, sub) => {
      const subject = { subject_type: 'iss-sub', iss: 'https://accounts.google.com/', sub };
      const type = `https://schemas.openid.net/secevent/risc/event-type/${name}`;
      const claims = { iss: 'https://accounts.google.com/', aud: CLIENT_ID, iat: now(), jti: crypto.randomUUID() };
      const signed = [{ alg: 'RS256', kid: 'events' }, { ...claims, events: { [type]: { subject } } }]
        .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
      return `${signed}.${crypto.sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`;
    };
    const server = http.createServer((request, response) => {
      google.calls += 1;
      const answer = (status, document) => {
        response.writeHead(status, { 'Content-Type': 'application/json; charset=UTF-8' });
        response.end(JSON.stringify(document, null, 2));
      };
      if (request.url === '/certs') return answer(200, { keys: [jwk] });
      if (google.down) {
        return answer(503, { error: { code: 503, message: 'The service is currently unavailable.' } });
      }
      try {
        const token = new URL(request.url, 'http://x').searchParams.get('id_token');
        const [, payload, signature] = token.split('.');
        const claims = JSON.parse(Buffer.from(payload, 'base64url'));
        if (!signature || claims.exp <= now()) throw new Error('expired or unsigned');
        answer(200, Object.fromEntries(Object.entries(claims).map(([name, value]) => [name, String(value)])));
      } catch {
        answer(400, { error: 'invalid_token', error_description: 'Invalid Value' });
      }
    });
    const origin = `http://127.0.0.1:${await this.listen(server)}`;
    Object.assign(google, { url: `${origin}/tokeninfo`, keysUrl: `${origin}/certs` });
    return google;
  }

  /** Hallpass itself. It keeps its port and database when it is stopped and started again. */
  async hallpass(flags, command = 'serve') {
    const hallpass = { port: 0, database: path.join(this.folder, 'hallpass.db') };
    hallpass.start = async (more = flags) => {
      const args = [command, '--listen', `127.0.0.1:${hallpass.port}`, '--database', hallpass.database, ...more];
      const announced = ({ output }) =>
        (/listening on \S+:(\d+)/.exec(output) ?? /localhost:(\d+)\//.exec(output))?.[1];
      const program = await this.program(HALLPASS, args, announced, { RUST_LOG: 'info' });
      hallpass.port = Number(announced(program));
      hallpass.stop = program.stop;
      hallpass.kill = program.kill;
      await until('hallpass answers', () => connects(hallpass.port));
    };
    await hallpass.start();
    return hallpass;
  }

  /**
   * An app that answers with what it received, and echoes WebSocket data. /events sends a first
   * event at once and another for each call of `tell`. /git/ serves the repositories in its folder.
   */
  async app() {
    const listeners = new Set();
    const tell = (text) => listeners.forEach((listener) => listener(text));
    const app = { requests: 0, git: path.join(this.folder, 'git'), tell };
    const seen = (request, body) => {
      app.requests += 1;
      const headers = [];
      for (let i = 0; i < request.rawHeaders.length; i += 2) headers.push(request.rawHeaders.slice(i, i + 2));
      const hash = crypto.createHash('sha256').update(body).digest('hex');
      const { method, url } = request;
      return JSON.stringify({ app: true, method, url, headers, length: body.length, hash });
    };
    const events = (response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      const tell = (text) => response.write(`data: ${text}\n\n`);
      listeners.add(tell);
      response.on('close', () => listeners.delete(tell));
      tell('first');
    };
    const server = http.createServer({ maxHeaderSize: 64 * 1024 }, async (request, response) => {
      if (request.url === '/events') return events(response);
      if (request.url.startsWith('/git/')) return gitHttp(app.git, request, response);
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      if (request.trailers && Object.keys(request.trailers).length) app.trailers = request.trailers;
      const status = Number(/^\/status\/(\d+)/.exec(request.url)?.[1] ?? 200);
      const wantsPage = request.headers.accept?.includes('text/html');
      response.writeHead(status, { 'Content-Type': wantsPage ? 'text/plain' : 'application/json' });
      response.end(seen(request, Buffer.concat(chunks)));
    });
    server.on('upgrade', (request, socket) => {
      const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
      const accept = crypto.createHash('sha1').update(key).digest('base64');
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`);
      socket.write(`Sec-WebSocket-Accept: ${accept}\r\n\r\n${seen(request, '')}\n`);
      socket.on('error', () => {}).pipe(socket);
    });
    app.port = await this.listen(server);
    return app;
  }

  /** nginx with deploy/nginx. `change` may alter a file's text. `http` goes into the http block, `main` before it. */
  async nginx(layout, { hallpass, app, change = (text) => text, http: more = '', main = '' }) {
    const [port, plain, { cert, key }] = [await freePort(), await freePort(), this.certificate()];
    const folder = fs.mkdtempSync(path.join(this.folder, 'nginx-'));
    const write = (name, text) => {
      fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      fs.writeFileSync(path.join(folder, name), text);
    };
    const deploy = (name) => fs.readFileSync(path.join(ROOT, 'deploy/nginx', name), 'utf8');
    write('hallpass.conf', substitute(deploy('hallpass.conf'), [['127.0.0.1:8080', `127.0.0.1:${hallpass}`]]));
    for (const name of fs.readdirSync(path.join(ROOT, 'deploy/nginx/snippets'))) {
      write(`snippets/${name}`, change(deploy(`snippets/${name}`), name));
    }
    write('site.conf', substitute(change(deploy(`${layout}.conf`), 'site.conf'), [
      ['listen [::]:80;', ''],
      ['listen [::]:443 ssl;', ''],
      ['listen 80;', `listen 127.0.0.1:${plain};`],
      ['listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`],
      [/\/etc\/letsencrypt\/\S+fullchain.pem/g, cert],
      [/\/etc\/letsencrypt\/\S+privkey.pem/g, key],
      ['http://127.0.0.1:3000', `http://127.0.0.1:${app}`],
      ...(layout === 'auth-subdomain' ? [['http://127.0.0.1:3001', `http://127.0.0.1:${app}`]] : []),
    ]));
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ');
    write('nginx.conf', `${process.getuid() === 0 ? 'user root;' : ''} daemon off; worker_processes 1;
      pid ${folder}/nginx.pid; error_log stderr; ${main} events {}
      http { access_log off; ${temporary} ${more} include hallpass.conf; include site.conf; }`);
    const args = ['-p', folder, '-c', `${folder}/nginx.conf`, '-e', 'stderr'];
    const program = await this.program(process.env.NGINX_BIN ?? 'nginx', args, () => connects(port));
    return { port, plain, folder, authority: cert, stop: program.stop, output: () => program.output };
  }

  /** Caddy with deploy/caddy and its own certificates. `change` may alter the file's text. */
  async caddy(layout, { hallpass, app, change = (text) => text }) {
    const [port, plain] = [await freePort(), await freePort()];
    const text = fs.readFileSync(path.join(ROOT, 'deploy/caddy', `${layout}.Caddyfile`), 'utf8');
    const options = `admin off\nskip_install_trust\nlocal_certs\ndefault_bind 127.0.0.1\nhttp_port ${plain}\n`
      + `https_port ${port}\nservers {\nprotocols h1 h2\n}\n`;
    const file = this.file(`${layout}-${port}.Caddyfile`, `{\n${options}}\n${substitute(change(text, layout), [
      ['127.0.0.1:8080', `127.0.0.1:${hallpass}`],
      ['127.0.0.1:3000', `127.0.0.1:${app}`],
      ...(layout === 'auth-subdomain' ? [['127.0.0.1:3001', `127.0.0.1:${app}`]] : []),
    ])}`);
    const home = { XDG_DATA_HOME: this.folder, XDG_CONFIG_HOME: this.folder, HOME: this.folder };
    const names = layout === 'same-host' ? ['app'] : ['auth', 'app', 'staff'];
    const certified = () => Promise.all(names.map((name) => speaksTls(port, `${name}.example.com`)))
      .then((all) => all.every(Boolean));
    const args = ['run', '--config', file, '--adapter', 'caddyfile'];
    const program = await this.program(process.env.CADDY_BIN ?? 'caddy', args, certified, home);
    const authority = path.join(this.folder, 'caddy/pki/authorities/local/root.crt');
    return { port, plain, authority, stop: program.stop };
  }
}

/** Replaces each text. Throws if it is missing. */
export function substitute(text, replacements) {
  for (const [from, to] of replacements) {
    const changed = text.replaceAll(from, to);
    if (changed === text && from !== to) throw new Error(`expected ${from} in the file`);
    text = changed;
  }
  return text;
}

export const now = () => Math.floor(Date.now() / 1000);

/** A token for that person, like one of Google's but with an invalid signature. */
export function idToken(person, changes = {}) {
  const segment = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = {
    iss: 'https://accounts.google.com', aud: CLIENT_ID, azp: CLIENT_ID, iat: now(), exp: now() + 3600,
    jti: crypto.randomUUID(), ...person, ...changes,
  };
  return `${segment({ alg: 'RS256', kid: 'test', typ: 'JWT' })}.${segment(claims)}.${segment('signature')}`;
}

export async function until(what, condition) {
  const deadline = Date.now() + START_MILLISECONDS;
  for (;;) {
    if (await condition()) return;
    if (Date.now() > deadline) throw new Error(`timed out before ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function answers(socket, event) {
  return new Promise((resolve) => {
    const end = (result) => { socket.destroy(); resolve(result); };
    socket.once(event, () => end(true)).once('error', () => end(false)).setTimeout(2_000, () => end(false));
  });
}

export const connects = (port) => answers(net.connect(port, '127.0.0.1'), 'connect');
const speaksTls = (port, servername) =>
  answers(tls.connect({ port, host: '127.0.0.1', servername, rejectUnauthorized: false }), 'secureConnect');

/** Runs git's own HTTP server as CGI. */
function gitHttp(root, request, response) {
  const [target, query = ''] = request.url.slice('/git'.length).split('?');
  const git = spawn('git', ['http-backend'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: {
      PATH: process.env.PATH, GIT_PROJECT_ROOT: root, GIT_HTTP_EXPORT_ALL: '1', REQUEST_METHOD: request.method,
      PATH_INFO: target, QUERY_STRING: query, CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      REMOTE_USER: request.headers['remote-user'] ?? '',
    },
  });
  git.stdin.on('error', () => {});
  request.pipe(git.stdin);
  const chunks = [];
  git.stdout.on('data', (chunk) => chunks.push(chunk));
  git.on('close', () => {
    const answer = Buffer.concat(chunks);
    const end = answer.indexOf('\r\n\r\n');
    const fields = answer.subarray(0, end).toString().split('\r\n').map((line) => line.split(/:\s*/, 2));
    const status = Number.parseInt(fields.find(([name]) => name === 'Status')?.[1] ?? '200', 10);
    response.writeHead(status, fields.filter(([name]) => name !== 'Status').flat()).end(answer.subarray(end + 4));
  });
}

/** Sends one request through the proxy. Headers are a list of pairs, sent unchanged. */
export function send(port, host, target,
  { method = 'GET', headers = [], body, chunked = false, connection = 'close', trailers } = {}) {
  return new Promise((resolve, reject) => {
    const framing = body === undefined ? [] : chunked ? ['Transfer-Encoding', 'chunked']
      : ['Content-Length', String(Buffer.byteLength(body))];
    const request = https.request({
      host: '127.0.0.1', port, servername: host, rejectUnauthorized: false, method, path: target, agent: false,
      headers: ['Host', host, ...headers.flat(), ...framing, 'Connection', connection],
    });
    if (trailers) request.addTrailers(trailers);
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk)).on('error', reject).on('end', () => {
        const text = Buffer.concat(chunks).toString();
        let json;
        try { json = JSON.parse(text); } catch { /* a page */ }
        resolve({ status: response.statusCode, headers: response.headers, text, json });
      });
    });
    request.end(body);
  });
}

/** Opens a stream through the proxy. Returns its text so far and a function that ends it. */
export async function stream(port, host, target, headers = []) {
  const stream = { text: '' };
  const request = https.request({
    host: '127.0.0.1', port, servername: host, rejectUnauthorized: false, path: target, agent: false,
    headers: ['Host', host, ...headers.flat()],
  });
  request.on('error', () => {}).on('response', (response) => {
    stream.status = response.statusCode;
    response.on('error', () => {}).on('data', (chunk) => (stream.text += chunk));
  });
  request.end();
  stream.end = () => request.destroy();
  return stream;
}

/** Opens a WebSocket. Returns the status, and the answer to a "ping" after `idle` milliseconds. */
export function upgrade(port, host, target, headers = [],
  { idle = 0, protocol = 'websocket', connection = 'Upgrade' } = {}) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ port, host: '127.0.0.1', servername: host, rejectUnauthorized: false });
    let text = '';
    socket.setTimeout(idle + 5_000, () => socket.destroy(new Error(`no more after ${JSON.stringify(text)}`)));
    socket.on('error', reject).on('close', () => reject(new Error(`closed after ${JSON.stringify(text)}`)));
    socket.on('secureConnect', () => {
      const all = [['Host', host], ['Connection', connection], ['Upgrade', protocol], ['Sec-WebSocket-Version', '13'],
        ['Sec-WebSocket-Key', crypto.randomBytes(16).toString('base64')], ...headers];
      socket.write(`GET ${target} HTTP/1.1\r\n${all.map((pair) => pair.join(': ')).join('\r\n')}\r\n\r\n`);
    });
    let pinged = false;
    socket.on('data', (chunk) => {
      text += chunk;
      const status = Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);
      const [head, rest] = text.split('\r\n\r\n');
      if (rest === undefined) return;
      if (status !== 101) { resolve({ status, head }); return socket.destroy(); }
      if (!pinged && rest.includes('\n')) { pinged = true; setTimeout(() => socket.write('ping'), idle); }
      if (rest.endsWith('ping')) { resolve({ status, head, app: JSON.parse(rest.split('\n')[0]) }); socket.destroy(); }
    });
  });
}
