// Traefik with the files of deploy/traefik. The program comes from PyPI (requirements.txt).

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { it } from 'node:test';
import { BATCHES, FORGED, IDENTITY_HEADERS, LAYOUTS, PUBLIC, cases } from './cases.mjs';
import { CLIENT_ID, ROOT, Stack, freePort, idToken, send, substitute, upgrade } from './stack.mjs';

const TRAEFIK = path.resolve(ROOT, process.env.TRAEFIK_BIN ?? 'target/proxies/bin/traefik');

/** Traefik with more flags, once the app's public path answers with that status. */
async function traefik(stack, flags, ready = 200) {
  const [port, plain] = [await freePort(), await freePort()];
  const args = [`--entryPoints.web.address=127.0.0.1:${plain}`, '--entryPoints.web.http.redirections.entryPoint.to=:443',
    `--entryPoints.websecure.address=127.0.0.1:${port}`, '--global.checkNewVersion=false', '--log.level=INFO', ...flags];
  const answers = () => send(port, 'app.example.com', PUBLIC).then(({ status }) => status === ready, () => false);
  const program = await stack.program(TRAEFIK, args, answers, { HOME: stack.folder });
  return { port, plain, stop: program.stop, output: () => program.output };
}

async function start(stack, layout, { hallpass, app, change = (text) => text }) {
  const text = fs.readFileSync(path.join(ROOT, 'deploy/traefik', `${layout}.yml`), 'utf8');
  const file = stack.file(`traefik-${crypto.randomUUID()}.yml`, substitute(change(text, 'traefik.yml'), [
    ['http://127.0.0.1:8080', `http://127.0.0.1:${hallpass}`],
    ['http://127.0.0.1:3000', `http://127.0.0.1:${app}`],
    ...(layout === 'auth-subdomain' ? [['http://127.0.0.1:3001', `http://127.0.0.1:${app}`]] : []),
  ]));
  return traefik(stack, [`--providers.file.filename=${file}`]);
}

/** The tests of features that Traefik has in its own way. */
function own(fixture) {
  const cookie = async () => fixture.cookieOf(await fixture.signIn(fixture.ADA));
  const get = (target, headers, more) => send(fixture.proxy.port, fixture.layout.app, target, { headers, ...more });

  it('takes all cookies and the identity from public paths', async () => {
    for (const headers of [...BATCHES, [['Authorization', `Bearer ${(await cookie())[1].split('=')[1]}`]]]) {
      const answer = await get(PUBLIC, [...headers, ['Cookie', `a=1; ${(await cookie())[1]}`]]);
      assert.equal(answer.status, 200);
      assert.ok(answer.json.app && !/mallory|hp_|ada@|a=1/.test(answer.text), answer.text);
    }
    for (const target of [`${PUBLIC}/x`, `/x${PUBLIC}`, `${PUBLIC};x`, `${PUBLIC}/..;/x`]) {
      assert.equal((await get(target, fixture.PROGRAM)).status, 401, target);
    }
  });

  it('removes every Authorization, and passes all cookies on', async () => {
    for (const value of ['Basic YTpi', 'Bearer of-the-app']) {
      const answer = await get('/x', [await cookie(), ['Cookie', 'a=1'], ['Authorization', value]]);
      fixture.assertIdentity(answer, fixture.ADA);
      const names = answer.json.headers.map(([name]) => name.toLowerCase());
      assert.ok(!names.includes('authorization') && answer.text.includes('a=1') && answer.text.includes('hp_'));
    }
  });

  it('keeps identity headers that a client names in Connection', async () => {
    for (const connection of ['close, Remote-User, X-Auth-Request-User', 'X-Forwarded-For, X-Forwarded-Uri']) {
      const answer = await get(fixture.DEEP, [...fixture.PROGRAM, await cookie()], { connection });
      fixture.assertIdentity(answer, fixture.ADA);
      assert.equal(new Headers(answer.json.headers).get('x-forwarded-for'), '127.0.0.1');
      const location = new URL((await get(fixture.DEEP, fixture.BROWSER, { connection })).headers.location);
      assert.equal(location.searchParams.get('rd'), `https://${fixture.layout.app}${fixture.DEEP}`);
    }
    assert.equal((await get('/x', [await cookie()], { connection: 'close, Cookie' })).status, 401);
  });

  it('passes a WebSocket after the check, and refuses one without a session', async () => {
    const open = await upgrade(fixture.proxy.port, fixture.layout.app, '/socket', [await cookie()]);
    fixture.assertIdentity({ status: open.status === 101 ? 200 : open.status, json: open.app }, fixture.ADA);
    assert.equal((await upgrade(fixture.proxy.port, fixture.layout.app, '/socket')).status, 401);
  });
}

cases(start, own, {
  down: [500],
  skip: {
    'passes preflights to the app only if configured to': 'it takes another router; see the file',
    'gives an app the identity in another header': 'Traefik cannot rename headers',
    'keeps identity headers that a client names in Connection': 'a Cookie named there is lost; see above',
    'passes only WebSocket upgrades': 'Traefik passes every upgrade',
    'passes public paths without a check, an identity or the session': 'all cookies are removed; see above',
    'removes the session from the app\'s request, and nothing else': 'Traefik cannot; see above',
    'checks a request with larger cookies than Hallpass accepts': 'Traefik sends Hallpass all cookies',
    'lets WebDAV clients in with a token as the password': 'Traefik cannot ask for a password',
    'lets git in with a token as the password': 'Traefik cannot ask for a password',
    'lets a calendar client in with a token as the password': 'Traefik cannot ask for a password',
    'passes a WebSocket after the check, and refuses one without a session': 'the app gets the session; see above',
    'answers 431, not 503, to headers that are too large for Hallpass': 'the test\'s headers are not all sent to Hallpass',
  },
});

// Its patterns are Go's, and they mean the same in JavaScript.

const pattern = (text) => new RegExp(text.replace('(?i)', ''), 'i');
const stripping = (text) => pattern(/authResponseHeadersRegex:(?: &identity)?\s+"([^"]*)"/.exec(text)[1].replace(/\\\n\s*/g, ''));

for (const layout of Object.keys(LAYOUTS)) {
  const text = fs.readFileSync(path.join(ROOT, 'deploy/traefik', `${layout}.yml`), 'utf8');
  const stripped = stripping(text);

  it(`${layout}: removes every identity header, and no other`, () => {
    for (const name of [...IDENTITY_HEADERS, ...FORGED.flat().map(([spelling]) => spelling), 'X-Original-URL',
      'X-Rewrite-URL', 'X-Script-Name', 'Forwarded', 'X-Forwarded-Prefix', 'X-Auth-Request-Anything', 'X-WEBAUTH-Anything']) {
      assert.match(name, stripped);
    }
    for (const name of ['Accept', 'Content-Type', 'Cookie', 'Authorization', 'X-User-Agent', 'X-Forwarded-For',
      'X-Forwarded-Proto', 'X-Forwarded-Host', 'X-Auth-Token', 'X-Csrf-Token', 'X-Requested-With', 'Host', 'Range']) {
      assert.doesNotMatch(name, stripped);
    }
    const guarded = text.match(/^ {4}hallpass[a-z-]*:\n {6}forwardAuth:/gm).length + 1;
    assert.equal(text.match(/authResponseHeadersRegex: [&*]identity/g).length, guarded, 'a public path keeps identity headers');
  });
}

it('the pattern is the same in every file', () => {
  const read = (name) => fs.readFileSync(path.join(ROOT, 'deploy', name), 'utf8').replaceAll('$$', '$');
  const [first, ...others] = ['traefik/same-host.yml', 'traefik/auth-subdomain.yml', 'traefik/docker-labels.yaml',
    'kubernetes/traefik.yaml'].map((name) => String(stripping(read(name))));
  for (const other of others) assert.equal(other, first);
});

it('same-host: the pattern for /admin covers all its spellings', () => {
  const text = fs.readFileSync(path.join(ROOT, 'deploy/traefik/same-host.yml'), 'utf8');
  const rule = pattern(/PathRegexp\(`([^`]*)`\)/.exec(text)[1]);
  const read = (target) => decodeURIComponent(target.split('?')[0]).replace(/\/x\/\.\.|\/\.(?=\/)/g, '');
  for (const target of LAYOUTS['same-host'].spellings) assert.match(read(target), rule);
  for (const target of LAYOUTS['same-host'].others) assert.doesNotMatch(read(target), rule);
});

/** Docker's API, as far as Traefik needs it: containers with these labels, all on this machine. */
async function docker(stack, services) {
  const containers = services.map(([name, labels]) => ({
    Id: name, Names: [`/${name}`], Name: `/${name}`, Labels: labels, State: 'running', Status: 'Up',
    HostConfig: { NetworkMode: 'front' }, NetworkSettings: { Networks: { front: { IPAddress: '127.0.0.1' } }, Ports: {} },
  }));
  const server = http.createServer((request, response) => {
    const target = request.url.replace(/^\/v[\d.]+/, '').split('?')[0];
    const answer = (document) => response.writeHead(200, { 'Content-Type': 'application/json', 'Api-Version': '1.44' })
      .end(JSON.stringify(document));
    const one = containers.find(({ Id }) => target === `/containers/${Id}/json`);
    if (target === '/events') return response.writeHead(200).flushHeaders();
    if (target === '/version') return answer({ ApiVersion: '1.44', Version: '27.0.0' });
    if (target === '/containers/json') return answer(containers);
    if (one) return answer({ ...one, State: { Status: 'running', Running: true }, Config: { Labels: one.Labels } });
    return answer({});
  });
  return stack.listen(server);
}

/** The documents of a YAML file in deploy/. */
function yaml(name) {
  const program = 'import json, sys, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)';
  return JSON.parse(execFileSync(path.join(ROOT, 'target/proxies/bin/python'), ['-c', program, path.join(ROOT, 'deploy', name)]));
}

/** The labels of each service in deploy/traefik/docker-labels.yaml, as Compose reads them. */
function labelled(changes) {
  const [{ services }] = yaml('traefik/docker-labels.yaml');
  return Object.entries(services).filter(([, { labels }]) => labels).map(([name, { labels }]) =>
    [name, JSON.parse(substitute(JSON.stringify(labels).replaceAll('$$', '$'), changes(name)))]);
}

/** The kinds of objects that Traefik asks for. */
const KINDS = ['IngressRoute', 'IngressRouteTCP', 'IngressRouteUDP', 'Middleware', 'MiddlewareTCP', 'TraefikService', 'TLSOption',
  'TLSStore', 'ServersTransport', 'ServersTransportTCP', 'Service', 'EndpointSlice', 'Secret', 'ConfigMap', 'Node'];

/** The API of Kubernetes, as far as Traefik needs it: it lists these objects, which never change. */
async function kubernetes(stack, objects) {
  const server = http.createServer((request, response) => {
    const url = new URL(request.url, 'http://x');
    const answer = (status, document) => response.writeHead(status, { 'Content-Type': 'application/json' })
      .end(JSON.stringify(document));
    if (url.searchParams.has('sendInitialEvents')) {
      return answer(422, { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'Invalid', code: 422 });
    }
    if (url.searchParams.has('watch')) {
      return response.writeHead(200, { 'Content-Type': 'application/json' }).flushHeaders();
    }
    const [, apiVersion, resource] = /^\/apis?\/(.*)\/([a-z]+)$/.exec(url.pathname) ?? [];
    const kind = KINDS.find((name) => `${name.toLowerCase()}s` === resource);
    const items = objects.filter((object) => object.apiVersion === apiVersion && object.kind === kind);
    return answer(200, { kind: `${kind}List`, apiVersion, metadata: { resourceVersion: '1' }, items });
  });
  return stack.listen(server);
}

/** The objects of deploy/kubernetes/traefik.yaml, and the services and certificates that they name. */
function resources(stack, { hallpass, app }) {
  const [cert, key] = Object.values(stack.certificate()).map((file) => fs.readFileSync(file).toString('base64'));
  const metadata = (name, namespace, more) => ({ name, namespace, uid: `${namespace}-${name}`, ...more });
  const service = (name, port, to) => [
    { kind: 'Service', apiVersion: 'v1', metadata: metadata(name, name), spec: { clusterIP: '127.0.0.1', ports: [{ port }] } },
    { kind: 'EndpointSlice', apiVersion: 'discovery.k8s.io/v1', addressType: 'IPv4',
      metadata: metadata(name, name, { labels: { 'kubernetes.io/service-name': name } }), ports: [{ name: '', port: to }],
      endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true, serving: true } }] },
    { kind: 'Secret', apiVersion: 'v1', metadata: metadata(`${name === 'app' ? 'app' : 'auth'}-example-com`, name),
      type: 'kubernetes.io/tls', data: { 'tls.crt': cert, 'tls.key': key } },
  ];
  const own = JSON.parse(substitute(JSON.stringify(yaml('kubernetes/traefik.yaml')), [
    ['http://hallpass.hallpass.svc.cluster.local:8080', `http://127.0.0.1:${hallpass}`]]));
  return [...own, ...service('app', 3000, app), ...service('hallpass', 8080, hallpass)];
}

/** Traefik with an app behind it, configured by other means than a file. */
function guards(title, configure, { publicPath, staff }) {
  it(title, async () => {
    const stack = new Stack();
    try {
      const google = await stack.google();
      const app = await stack.app();
      const hallpass = await stack.hallpass(['--client-id', CLIENT_ID, '--tokeninfo-url', google.url, '--allow-domain',
        'example.com', '--allow-domain', 'partner.example', ...LAYOUTS['auth-subdomain'].flags]);
      const { port } = await traefik(stack, await configure(stack, { hallpass: hallpass.port, app: app.port }),
        publicPath ? 200 : 401);
      const signIn = async (sub, hd) => {
        const answer = await send(port, 'auth.example.com', '/auth/signin', {
          method: 'POST', headers: [['Content-Type', 'application/json']],
          body: JSON.stringify({ id_token: idToken({ sub, hd, email: `${sub}@${hd}`, email_verified: true }) }),
        });
        assert.equal(answer.status, 200, answer.text);
        return ['Cookie', `__Secure-hallpass=${answer.json.session.token}`];
      };
      const get = (host, target, ...headers) => send(port, host, target, { headers });
      const [ada, eve] = [await signIn('ada', 'example.com'), await signIn('eve', 'partner.example')];
      const page = await get('app.example.com', '/x', ['Accept', 'text/html'], ['Sec-Fetch-Mode', 'navigate']);
      assert.equal(page.status, 302);
      assert.equal(new URL(page.headers.location).searchParams.get('rd'), 'https://app.example.com/x');
      for (const batch of BATCHES) {
        const answer = await get('app.example.com', '/x', ada, ['Authorization', 'Bearer of-the-app'], ...batch);
        assert.equal(answer.status, 200, answer.text);
        assert.ok(answer.text.includes('ada@example.com') && !/mallory|of-the-app/.test(answer.text), answer.text);
        const open = await get('app.example.com', PUBLIC, ada, ...batch);
        assert.ok(open.json.app && !/mallory/.test(open.text), open.text);
        if (publicPath) assert.doesNotMatch(open.text, /ada@|hp_/);
      }
      const before = app.requests;
      assert.equal((await get('app.example.com', '/x')).status, 401);
      assert.equal((await get('auth.example.com', '/metrics')).status, 404);
      if (staff) assert.equal((await get('staff.example.com', '/x', eve)).status, 403);
      assert.equal(app.requests, before);
      if (staff) assert.equal((await get('staff.example.com', '/x', ada)).status, 200);
    } finally {
      await stack.stop();
    }
  });
}

guards('Docker labels protect the apps like the file', async (stack, { hallpass, app }) => {
  const api = await docker(stack, labelled((name) => (name === 'hallpass'
    ? [['http://hallpass:8080', `http://127.0.0.1:${hallpass}`], ['"8080"', `"${hallpass}"`]]
    : [[name === 'app' ? '"3000"' : '"3001"', `"${app}"`]])));
  return [`--providers.docker.endpoint=tcp://127.0.0.1:${api}`, '--providers.docker.exposedByDefault=false',
    '--providers.docker.network=front'];
}, { publicPath: true, staff: true });

guards('the resources for Kubernetes protect the app like the file', async (stack, ports) => {
  const api = await kubernetes(stack, resources(stack, ports));
  return [`--providers.kubernetesCRD.endpoint=http://127.0.0.1:${api}`, '--providers.kubernetesCRD.token=token'];
}, { publicPath: false, staff: false });
