// Jupyter with the settings of its page.

import assert from 'node:assert/strict';
import { it } from 'node:test';
import { answers, basic, username } from './cases.mjs';

/** Jupyter Server, or JupyterLab on top of it. */
export const jupyter = (program) => ({
  page: 'jupyter', port: 8888, version: 'jupyter-server',
  paths: (folder) => [['/home/ada/notebooks', folder]],
  async start({ stack, settings, port, folder }) {
    const config = stack.file('jupyter/jupyter_server_config.py', `${settings('python')}
c.ServerApp.port = ${port}\nc.ServerApp.port_retries = 0\n`);
    await stack.program(program, [`--config=${config}`, '--allow-root'], answers(port), { HOME: folder });
  },
  async who(ask) {
    const { status, text } = await ask('GET', '/api/me');
    assert.equal(status, 200, text);
    return JSON.parse(text).identity.username;
  },
  knownAs: username,
  header: 'X-Auth-Request-Preferred-Username',
  /** A terminal. */
  async socket() {
    const [, token] = /_xsrf=([^;]*)/.exec(document.cookie);
    const created = await fetch('/api/terminals', { method: 'POST', headers: { 'X-XSRFToken': decodeURIComponent(token) } });
    const { name } = await created.json();
    const open = () => new Promise((resolve) => {
      const socket = new WebSocket(`wss://${location.host}/terminals/websocket/${name}`);
      socket.seen = '';
      socket.addEventListener('message', ({ data }) => { socket.seen += data; });
      socket.addEventListener('open', () => resolve(socket));
      socket.addEventListener('error', () => resolve(undefined));
    });
    const terminal = await open();
    let number = 1000;
    window.echo = async () => {
      number += 1;
      terminal.send(JSON.stringify(['stdin', `echo $((${number} * 7))\r`]));
      for (let tries = 0; tries < 200; tries += 1) {
        if (terminal.seen.includes(String(number * 7))) return true;
        await new Promise((resolve) => { setTimeout(resolve, 25); });
      }
      return false;
    };
    window.reopen = async () => Boolean(await open());
    if (!await window.echo()) throw new Error('the terminal does not answer');
  },
  alone: ({ world, ADA, program }) => it('lets programs read only', async () => {
    const ask = program('nginx', [basic(world.tokens.get(ADA))]);
    assert.equal((await ask('GET', '/api/contents')).status, 200);
    assert.equal((await ask('POST', '/api/terminals')).status, 403);
  }),
});
