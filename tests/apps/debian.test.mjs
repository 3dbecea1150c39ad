// Apps from Debian's packages.

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { it } from 'node:test';
import { promisify } from 'node:util';
import { tunnel } from '../proxies/clients.mjs';
import { CLIENT_ID, Stack, freePort, idToken, send } from '../proxies/stack.mjs';
import { answers, basic, bearer, cases, until, username } from './cases.mjs';
import { replaceBlock } from './recipe.mjs';

const run = promisify(execFile);

/** An app without users: whoever is let in gets its pages, and nothing else. */
const anybody = (path, text) => async (ask) => {
  const answer = await ask('GET', path);
  assert.equal(answer.status, 200, answer.text);
  assert.match(answer.text, text);
};

const staticSite = {
  page: 'static-site',
  paths: (folder) => [['/srv/www', folder], ['/var/log/nginx/people.log', `${folder}/people.log`]],
  start: ({ folder }) => fs.writeFileSync(`${folder}/index.html`, '<title>Recipes</title><h1>Bread</h1>'),
  who: anybody('/', /Bread/),
  alone: (at) => it('names the visitor in the log', async () => {
    const { world, host, folder, ADA, program } = at;
    const forged = ['Remote-Email', 'grace@example.com'];
    assert.equal((await program('nginx', [bearer(world.tokens.get(ADA)), forged])('GET', '/?logged')).status, 200);
    assert.equal((await send(world.nginx.port, host, '/?stranger', { headers: [forged] })).status, 401);
    const lines = () => fs.readFileSync(`${folder}/people.log`, 'utf8').split('\n').filter((line) => /\?(logged|stranger)/.test(line));
    await until('the log is written', () => lines().length >= 1);
    assert.match(lines()[0], / ada@example\.com /);
    assert.equal(lines().length, 1);
  }),
};

const webdav = {
  page: 'webdav',
  main: 'load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;',
  paths: (folder) => [['/srv/dav', folder]],
  start: ({ folder }) => {
    for (const name of ['ada_example.com', 'grace_example.com']) fs.mkdirSync(`${folder}/${name}`);
    return { folder, files: 0 };
  },
  async who(ask, started) {
    started.files += 1;
    const name = `file-${started.files}.txt`;
    const { status, text } = await ask('PUT', `/notes/${name}`, { body: 'x' });
    assert.equal(status, 201, text);
    assert.equal((await ask('GET', `/notes/${name}`)).text, 'x');
    const owners = fs.readdirSync(started.folder).filter((owner) => fs.existsSync(`${started.folder}/${owner}/notes/${name}`));
    assert.equal(owners.length, 1);
    return owners[0];
  },
  knownAs: username,
  alone: (at) => {
    it('keeps people out of each other\'s folders', async () => {
      const { world, host, folder, ADA } = at;
      fs.writeFileSync(`${folder}/grace_example.com/secret.txt`, 'secret');
      fs.writeFileSync(`${folder}/ada_example.com/own.txt`, 'own');
      const ask = (method, path, headers = []) => send(world.nginx.port, host, path, { method, headers: [basic(world.tokens.get(ADA)), ...headers] });
      for (const path of ['/../grace_example.com/secret.txt', '/%2e%2e/grace_example.com/secret.txt', '/..%2fgrace_example.com/secret.txt',
        '/x/../../grace_example.com/secret.txt', '/grace_example.com/secret.txt', '/\\..\\grace_example.com/secret.txt']) {
        const answer = await ask('GET', path);
        assert.ok([400, 404].includes(answer.status), `${path}: ${answer.status}`);
      }
      for (const destination of ['/../grace_example.com/own.txt', '/%2e%2e/grace_example.com/own.txt', '/x/../../grace_example.com/own.txt']) {
        for (const prefix of ['', `https://${host}`]) {
          await ask('COPY', '/own.txt', [['Destination', prefix + destination]]);
        }
      }
      assert.deepEqual(fs.readdirSync(`${folder}/grace_example.com`).filter((name) => name === 'own.txt'), []);
    });
    it('works with rclone', async () => {
      const { world, stack, host, folder, ADA } = at;
      const proxy = `http://127.0.0.1:${await tunnel(stack, world.nginx.port)}`;
      const environment = { PATH: process.env.PATH, HOME: folder, HTTPS_PROXY: proxy };
      const obscured = execFileSync('rclone', ['obscure', world.tokens.get(ADA)]).toString().trim();
      const rclone = (...args) => run('rclone', [...args, '--config', '/dev/null', '--no-check-certificate', '--retries', '1',
        '--webdav-url', `https://${host}/`, '--webdav-user', 'me', '--webdav-pass', obscured], { env: environment });
      fs.mkdirSync(`${folder}/from/deep`, { recursive: true });
      fs.writeFileSync(`${folder}/from/deep/note.txt`, 'from rclone');
      await rclone('sync', `${folder}/from`, ':webdav:backup');
      assert.equal(fs.readFileSync(`${folder}/ada_example.com/backup/deep/note.txt`, 'utf8'), 'from rclone');
      assert.match((await rclone('ls', ':webdav:backup')).stdout, /deep\/note\.txt/);
    });
  },
};

const BRANCHES = 100;

const git = {
  page: 'git',
  paths: (folder) => [['/srv/git', `${folder}/repositories`], ['/run/fcgiwrap.socket', `${folder}/fcgiwrap.socket`]],
  async start({ stack, settings, folder }) {
    const repository = `${folder}/repositories/repo.git`;
    const inside = (...args) => execFileSync('git', ['-C', repository, ...args], { stdio: 'pipe' }).toString().trim();
    execFileSync('git', ['init', '--quiet', '--bare', '--initial-branch=main', repository]);
    const author = ['-c', 'user.name=x', '-c', 'user.email=x@example.com'];
    const commit = inside(...author, 'commit-tree', '-m', 'First', inside('hash-object', '-w', '-t', 'tree', '/dev/null'));
    const names = ['main', ...Array.from({ length: BRANCHES }, (_, i) => `b${i}`)];
    execFileSync('git', ['-C', repository, 'update-ref', '--stdin'], { input: names.map((name) => `create refs/heads/${name} ${commit}\n`).join('') });
    fs.writeFileSync(`${repository}/hooks/pre-receive`, `${settings('sh')}printenv > ${folder}/environment\n`, { mode: 0o755 });
    await stack.program('fcgiwrap', ['-s', `unix:${folder}/fcgiwrap.socket`], () => fs.existsSync(`${folder}/fcgiwrap.socket`));
    return { repository, folder, commit, branches: BRANCHES };
  },
  /** Deletes a branch, as `git push --delete` does. The hook sees who it is. */
  async who(ask, started) {
    started.branches -= 1;
    const command = `${started.commit} ${'0'.repeat(40)} refs/heads/b${started.branches}`;
    const body = `${(command.length + 4).toString(16).padStart(4, '0')}${command}0000`;
    const { status, text } = await ask('POST', '/repo.git/git-receive-pack',
      { body, headers: { 'Content-Type': 'application/x-git-receive-pack-request' } });
    assert.equal(status, 200, text);
    const environment = fs.readFileSync(`${started.folder}/environment`, 'utf8');
    assert.ok(!environment.includes('hp_') && !/AUTHORIZATION=./.test(environment), environment);
    return /^REMOTE_USER=(.*)$/m.exec(environment)?.[1];
  },
  knownAs: username,
  header: 'Remote-User',
  open: '/repo.git/HEAD',
  alone: (at) => it('works with git, and the hook refuses others', async () => {
    const { world, stack, host, folder, started, ADA, GRACE } = at;
    const proxy = `http://127.0.0.1:${await tunnel(stack, world.nginx.port)}`;
    const environment = { PATH: process.env.PATH, HOME: folder, GIT_SSL_NO_VERIFY: '1', GIT_TERMINAL_PROMPT: '0', https_proxy: proxy };
    const git = (...args) => run('git', args, { env: environment });
    for (const [person, work] of [[ADA, `${folder}/ada`], [GRACE, `${folder}/grace`]]) {
      await git('clone', '--quiet', `https://me:${world.tokens.get(person)}@${host}/repo.git`, work);
      fs.writeFileSync(`${work}/file`, work);
      await git('-C', work, 'add', 'file');
      await git('-C', work, '-c', 'user.name=x', '-c', 'user.email=x@example.com', 'commit', '--quiet', '-m', 'Add');
      const pushed = git('-C', work, 'push', '--quiet', 'origin', 'HEAD:main');
      if (person === ADA) await pushed;
      else await assert.rejects(pushed, /may not push to main/);
    }
    const tip = (await git('-C', `${folder}/ada`, 'rev-parse', 'HEAD')).stdout;
    assert.equal((await git('-C', started.repository, 'rev-parse', 'main')).stdout, tip);
  }),
};

const radicale = {
  page: 'radicale', port: 5232,
  paths: (folder) => [['/var/lib/radicale/collections', `${folder}/collections`]],
  async start({ stack, settings, port }) {
    const config = stack.file('radicale/config', settings('ini'));
    await stack.program('radicale', ['--config', config], answers(port));
  },
  async who(ask) {
    const body = '<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>';
    const { status, text } = await ask('PROPFIND', '/', { body, headers: { Depth: '0' } });
    assert.equal(status, 207, text);
    return /<current-user-principal><href>\/([^/<]*)\/<\/href>/.exec(text)?.[1];
  },
  knownAs: username,
  /** Radicale's own sign-in, as the page describes it. */
  async use(page, name) {
    await page.getByPlaceholder('Username').fill(name);
    await page.getByPlaceholder('Password').fill('anything');
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText('Create new').first().waitFor();
  },
  header: 'X-Remote-User',
  open: '/.web/',
  alone: (at) => it('works in the files for a single host too', async () => {
    const [stack, host] = [new Stack(), 'app.example.com'];
    const flags = ['--client-id', CLIENT_ID, '--tokeninfo-url', at.world.google.url, '--allow-anyone', '--public-url', `https://${host}`];
    try {
      const ports = { hallpass: (await stack.hallpass(flags)).port, app: await freePort() };
      const nginx = (text, file) => (file === 'site.conf' ? replaceBlock(text, '    location / {', at.nginx) : text);
      const caddy = (text) => replaceBlock(text, '\thandle {', at.caddy);
      for (const [proxy, change] of Object.entries({ nginx, caddy })) {
        const { port } = await stack[proxy]('same-host', { ...ports, change });
        const signIn = { method: 'POST', headers: [['Content-Type', 'application/json']], body: JSON.stringify({ id_token: idToken(at.ADA) }) };
        const { token } = (await send(port, host, '/auth/signin', signIn)).json.session;
        const ask = (method, path, { headers, body }) =>
          send(port, host, path, { method, body, headers: [bearer(token), ['X-Remote-User', username(at.GRACE)], ...Object.entries(headers)] });
        assert.equal(await at.who(ask), username(at.ADA));
      }
    } finally {
      await stack.stop();
    }
  }),
};

const prometheus = {
  page: 'prometheus', port: 9090,
  async start({ stack, settings, port, folder }) {
    const config = stack.file('prometheus/prometheus.yml', 'scrape_configs: []\n');
    const flags = settings('sh').match(/--web\S+/g);
    await stack.program('prometheus', [`--config.file=${config}`, `--storage.tsdb.path=${folder}/data`, ...flags], answers(port, '/-/ready'));
  },
  who: anybody('/api/v1/query?query=1', /"status":"success"/),
  open: '/graph',
};

cases([staticSite, webdav, git, radicale, prometheus]);
