// Envoy with the file of deploy/envoy. The program comes from PyPI (requirements.txt).

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { cases, uncomment } from './cases.mjs';
import { ROOT, connects, freePort, send, substitute } from './stack.mjs';

const ENVOY = path.resolve(ROOT, process.env.ENVOY_BIN ?? 'target/proxies/bin/envoy');

async function start(stack, layout, { hallpass, app, change = (text) => text }) {
  const [port, plain, { cert, key }] = [await freePort(), await freePort(), stack.certificate()];
  const text = fs.readFileSync(path.join(ROOT, 'deploy/envoy/envoy.yaml'), 'utf8');
  const config = stack.file(`envoy-${port}.yaml`, substitute(change(text, 'envoy.yaml'), [
    // The tests send more headers than the usual limit of 100.
    ['use_remote_address: true', '$&\n                common_http_protocol_options: { max_headers_count: 400 }'],
    ['address: 0.0.0.0, port_value: 80 ', `address: 127.0.0.1, port_value: ${plain} `],
    ['address: 0.0.0.0, port_value: 443 ', `address: 127.0.0.1, port_value: ${port} `],
    [/\/etc\/letsencrypt\/\S+fullchain.pem/g, cert],
    [/\/etc\/letsencrypt\/\S+privkey.pem/g, key],
    ['port_value: 8080', `port_value: ${hallpass}`],
    ['port_value: 3000', `port_value: ${app}`],
    ['port_value: 3001', `port_value: ${app}`],
  ]));
  const args = ['-c', config, '--use-dynamic-base-id', '--concurrency', '1', '--log-level', 'warning'];
  const program = await stack.program(ENVOY, args, () => connects(port));
  return { port, plain, authority: cert, stop: program.stop, output: () => program.output };
}

cases(start, (fixture) => {
  it('loads the file without warnings', () => {
    assert.doesNotMatch(fixture.proxy.output(), /deprecated|error/i);
  });

  it('keeps identity headers that a client names in Connection, or refuses the request', async () => {
    const { layout, proxy, PROGRAM, ADA, DEEP } = fixture;
    const headers = [...PROGRAM, fixture.cookieOf(await fixture.signIn(ADA))];
    for (const connection of ['close, Remote-User, X-Auth-Request-User', 'upgrade', 'Upgrade, Remote-Email']) {
      fixture.assertIdentity(await send(proxy.port, layout.app, DEEP, { headers, connection }), ADA);
    }
    const before = fixture.app.requests;
    for (const connection of ['close, X-Forwarded-For', 'close, Cookie, X-Forwarded-Host']) {
      for (const host of [layout.app, layout.auth]) {
        const answer = await send(proxy.port, host, '/auth/sessions', { headers, connection });
        assert.equal(answer.status, 400, answer.text);
      }
    }
    assert.equal(fixture.app.requests, before);
  });
}, {
  layouts: ['auth-subdomain'],
  http2: true,
  otherUpgrades: [200, 403],
  explainsOutages: false,
  skip: {
    'keeps identity headers that a client names in Connection': 'Envoy refuses some of these requests; see above',
    'lets WebDAV clients in with a token as the password': 'the file has no line for it',
    'lets git in with a token as the password': 'the file has no line for it',
    'lets a calendar client in with a token as the password': 'the file has no line for it',
  },
  preflights: (text) => uncomment(text, '- match:'),
  remoteUser: (text) => text.replace('-- For an app that reads another name: ', ''),
});
