// Real programs that know a user name and a password and nothing else: curl, rclone, cadaver, git,
// and a CalDAV library with Radicale. Each sends a token as the password, through a proxy to a real app.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort, send } from './stack.mjs';

const run = promisify(execFile);

/** A token of that person, made with a session of theirs. */
export async function tokenOf({ port, layout, session, name = 'Backup' }) {
  const answer = await send(port, layout.auth, '/auth/tokens', {
    method: 'POST', body: JSON.stringify({ name }),
    headers: [['Content-Type', 'application/json'], ['Authorization', `Bearer ${session.token}`]],
  });
  assert.equal(answer.status, 201, answer.text);
  return answer.json.token;
}

/** Uncomments the challenge that makes programs send their password. */
export function withChallenge(text, file) {
  const line = file.endsWith('.conf') ? /# (set \$hallpass_challenge)/ : /# (header_down \+WWW-Authenticate)/;
  if (file.endsWith('.conf') && file !== 'site.conf') return text;
  assert.match(text, line);
  return text.replace(line, '$1');
}

/**
 * A way for programs to reach the proxy under test by its public name and port: they tunnel through
 * this, whose only destination it is.
 */
export async function tunnel(stack, port) {
  const server = http.createServer();
  server.on('connect', (request, socket) => {
    const there = net.connect(port, '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    for (const end of [socket, there]) end.on('error', () => [socket, there].forEach((one) => one.destroy()));
    socket.pipe(there).pipe(socket);
  });
  return stack.listen(server);
}

/** A home for a client: the password where it looks for it, and the tunnel. */
function home({ stack, layout, tunnelPort, token }) {
  const folder = fs.mkdtempSync(path.join(stack.folder, 'home-'));
  fs.writeFileSync(path.join(folder, '.netrc'), `machine ${layout.app}\nlogin me\npassword ${token}\n`, { mode: 0o600 });
  const environment = {
    PATH: process.env.PATH, HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder, LANG: 'C.UTF-8',
    GIT_TERMINAL_PROMPT: '0', GIT_CONFIG_NOSYSTEM: '1', GIT_SSL_NO_VERIFY: '1',
    https_proxy: `http://127.0.0.1:${tunnelPort}`, HTTPS_PROXY: `http://127.0.0.1:${tunnelPort}`,
  };
  return { folder, environment };
}

export async function curl(at) {
  const { layout, token, other } = at;
  const { environment } = home(at);
  const ask = async (user) => {
    const args = ['-sS', '-k', '-u', user, '-w', '\n%{http_code}', `https://${layout.app}/x`];
    const lines = (await run('curl', args, { env: environment })).stdout.split('\n');
    return { status: Number(lines.pop()), text: lines.join('\n') };
  };
  for (const user of [`me:${token}`, `:${token}`, `ada@example.com:${token}`]) {
    const answer = await ask(user);
    assert.equal(answer.status, 200, answer.text);
    const seen = JSON.parse(answer.text);
    assert.ok(seen.headers.some(([name, value]) => name.toLowerCase() === 'remote-email' && value === 'ada@example.com'));
    assert.ok(!seen.headers.some(([name]) => name.toLowerCase() === 'authorization'), 'the app got the token');
  }
  assert.equal((await ask(`me:${other}`)).status, 401);
}

/** rclone sends its password at once. */
export async function webdav(at) {
  const { layout, token, other, files } = at;
  const { folder, environment } = home(at);
  const rclone = async (password, args) => {
    const obscured = (await run('rclone', ['obscure', password], { env: environment })).stdout.trim();
    return run('rclone', [...args, '--config', '/dev/null', '--no-check-certificate', '--retries', '1',
      '--low-level-retries', '1', '--webdav-url', `https://${layout.app}/`, '--webdav-user', 'me',
      '--webdav-pass', obscured], { env: environment });
  };
  const text = path.join(folder, 'note.txt');
  fs.writeFileSync(text, 'from rclone');
  await rclone(token, ['copy', text, ':webdav:folder']);
  assert.equal(fs.readFileSync(path.join(files, 'folder/note.txt'), 'utf8'), 'from rclone');
  assert.match((await rclone(token, ['ls', ':webdav:'])).stdout, /folder\/note\.txt/);
  await assert.rejects(() => rclone(other, ['ls', ':webdav:']), /401/);
}

/** cadaver sends its password when a 401 asks for it. */
export async function cadaver(at) {
  const { layout, tunnelPort, files } = at;
  const { folder, environment } = home(at);
  fs.writeFileSync(path.join(folder, 'other.txt'), 'from cadaver');
  fs.writeFileSync(path.join(folder, '.cadaverrc'), '');
  const command = `cadaver --proxy 127.0.0.1:${tunnelPort} https://${layout.app}/`;
  // It asks about the certificate, on a terminal only.
  const client = spawn('script', ['--quiet', '--echo', 'never', '--command', command, '/dev/null'],
    { cwd: folder, env: environment });
  let output = '';
  for (const stream of [client.stdout, client.stderr]) stream.on('data', (chunk) => (output += chunk));
  client.stdin.end('y\nput other.txt\nls\nquit\n');
  await new Promise((resolve) => client.on('close', resolve));
  assert.match(output, /other\.txt/, output);
  assert.equal(fs.readFileSync(path.join(files, 'other.txt'), 'utf8'), 'from cadaver', output);
}

/** git sends the password of a URL or a credential helper when a 401 asks for it. */
export async function git(at) {
  const { layout, token, other, repository } = at;
  const { folder, environment } = home({ ...at, token: 'none' });
  const url = (password) => `https://me:${password}@${layout.app}/git/repo.git`;
  const work = path.join(folder, 'work');
  const git = (args, cwd = folder) => run('git', args, { cwd, env: environment });
  await git(['clone', '--quiet', url(token), work]);
  fs.writeFileSync(path.join(work, 'file'), folder);
  await git(['add', 'file'], work);
  await git(['-c', 'user.name=Ada', '-c', 'user.email=ada@example.com', 'commit', '--quiet', '-m', 'Add'], work);
  await git(['push', '--quiet', 'origin', 'HEAD:main'], work);
  const [local, remote] = await Promise.all([git(['rev-parse', 'HEAD'], work), git(['rev-parse', 'main'], repository)]);
  assert.equal(remote.stdout, local.stdout);
  await assert.rejects(() => git(['clone', '--quiet', url(other), `${work}-2`]), /401|Authentication/);
}

/** An app that serves the files of a folder by WebDAV. */
export async function davServer(stack) {
  const [files, port] = [fs.mkdtempSync(path.join(stack.folder, 'dav-')), await freePort()];
  const args = ['serve', 'webdav', files, '--addr', `127.0.0.1:${port}`, '--config', '/dev/null'];
  const answers = () => fetch(`http://127.0.0.1:${port}/`).then(() => true, () => false);
  const server = await stack.program('rclone', args, answers, { HOME: files });
  return { files, port, stop: server.stop };
}

/** Radicale, which believes X-Remote-User. */
export async function radicale(stack) {
  const [folder, port] = [fs.mkdtempSync(path.join(stack.folder, 'radicale-')), await freePort()];
  const config = path.join(folder, 'config');
  fs.writeFileSync(config, `[server]\nhosts = 127.0.0.1:${port}\n[auth]\ntype = http_x_remote_user\n`
    + `[rights]\ntype = owner_only\n[storage]\nfilesystem_folder = ${folder}/collections\n[logging]\nlevel = warning\n`);
  const answers = () => fetch(`http://127.0.0.1:${port}/`).then(() => true, () => false);
  const server = await stack.program('radicale', ['--config', config], answers);
  return { folder, port, stop: server.stop };
}

/** The caldav library finds the calendars of the token's owner and adds an event to a new one. */
const CALENDAR = `
import sys, caldav
url, password, authority = sys.argv[1:]
client = caldav.DAVClient(url, username='me', password=password, ssl_verify_cert=authority)
calendar = client.principal().make_calendar(name='Team')
calendar.save_event('BEGIN:VCALENDAR\\nVERSION:2.0\\nPRODID:test\\nBEGIN:VEVENT\\nUID:one\\nDTSTAMP:20270101T000000Z\\n'
    'DTSTART:20270101T100000Z\\nDTEND:20270101T110000Z\\nSUMMARY:Tea\\nEND:VEVENT\\nEND:VCALENDAR\\n')
print([event.vobject_instance.vevent.summary.value for event in client.principal().calendars()[0].events()])
`;

export async function calendar(at) {
  const { layout, token, other, server, user, authority } = at;
  const { environment } = home({ ...at, token: 'none' });
  const script = path.join(environment.HOME, 'add-event.py');
  fs.writeFileSync(script, CALENDAR);
  const add = (password) => run('/usr/bin/python3', [script, `https://${layout.app}/`, password, authority], { env: environment });
  assert.equal((await add(token)).stdout, "['Tea']\n");
  const stored = fs.readdirSync(path.join(server.folder, 'collections/collection-root'));
  assert.deepEqual(stored, [user]);
  await assert.rejects(() => add(other), /AuthorizationError/);
}
