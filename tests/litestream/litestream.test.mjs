// Runs Litestream with deploy/litestream/litestream.yml while people sign in, and kills everything.
// The restored database must have everybody who was signed in before the last sync.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { CLIENT_ID, ROOT, Stack, freePort, idToken, substitute, until } from '../proxies/stack.mjs';

const LITESTREAM = fileURLToPath(import.meta.resolve('./node_modules/@flydotio/litestream-linux-x64/litestream'));
const skip = fs.existsSync(LITESTREAM) ? false : `the npm registry has no Litestream for ${process.arch}`;
const CLIENTS = 8;
/** Enough for several times 1,000 WAL pages, after which the WAL is checkpointed. */
const SIGNINS = 1_200;

test('a restored database has everybody who was signed in before the last sync', { skip }, async () => {
  const stack = new Stack();
  try {
    const google = await stack.google();
    const flags = ['--client-id', CLIENT_ID, '--allow-anyone', '--signin-burst', '0', '--tokeninfo-url', google.url];
    const hallpass = await stack.hallpass(flags);
    const replica = path.join(stack.folder, 'replica');
    const metrics = `127.0.0.1:${await freePort()}`;
    const config = stack.file('litestream.yml', substitute(
      fs.readFileSync(path.join(ROOT, 'deploy/litestream/litestream.yml'), 'utf8'),
      [['127.0.0.1:9190', metrics], ['/var/lib/hallpass/hallpass.db', hallpass.database], ['/mnt/backup/hallpass', replica]],
    ));
    const load = new Load(hallpass);
    await load.reaches(50);
    const litestream = await stack.program(LITESTREAM, ['replicate', '-config', config],
      async () => (await positions(metrics)).synced > 0);
    await load.reaches(SIGNINS / 2);

    // Replication continues when Hallpass restarts.
    await load.pause();
    await hallpass.stop();
    await hallpass.start();
    load.resume();
    await load.reaches(SIGNINS);

    const before = [...load.answered];
    await synced(metrics);
    const after = load.answered.length;
    await Promise.all([load.end(), hallpass.kill(), litestream.kill()]);
    assert.ok(after > before.length, 'nobody signed in during the sync, so it proves nothing');

    assert.equal(fs.readdirSync(path.join(replica, 'generations')).length, 1, 'it lost track of the WAL and began a new generation');
    const lost = hallpass.database;
    fs.renameSync(lost, `${lost}.lost`);
    for (const suffix of ['-wal', '-shm']) fs.rmSync(lost + suffix);
    execFileSync(LITESTREAM, ['restore', '-config', config, lost], { stdio: 'pipe' });
    await hallpass.start();
    for (const { sub, token } of before) {
      const me = await fetch(`http://127.0.0.1:${hallpass.port}/auth/me`, { headers: { Authorization: `Bearer ${token}` } });
      assert.equal((await me.json()).user?.sub, sub, `${sub} was signed in before the last sync and is missing`);
    }
  } finally {
    await stack.stop();
  }
});

/** Clients that sign in one user after another. `answered` has the users who got their session. */
class Load {
  answered = [];
  #running;
  #stopped = false;
  #hallpass;
  #started = 0;

  constructor(hallpass) {
    this.#hallpass = hallpass;
    this.resume();
  }

  resume() {
    this.#stopped = false;
    this.#running = Array.from({ length: CLIENTS }, () => this.#client());
  }

  /** Waits for the sign-ins that have begun. */
  async pause() {
    this.#stopped = true;
    await Promise.all(this.#running);
  }

  /** Stops, even if sign-ins that have begun fail. */
  async end() {
    this.#stopped = true;
    await Promise.allSettled(this.#running);
  }

  reaches(number) {
    return until(`${number} have signed in`, () => this.answered.length >= number);
  }

  async #client() {
    while (!this.#stopped) {
      const sub = String(this.#started += 1);
      const answer = await fetch(`http://127.0.0.1:${this.#hallpass.port}/auth/signin`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ id_token: idToken({ sub }) }),
      });
      assert.equal(answer.status, 200);
      this.answered.push({ sub, token: (await answer.json()).session.token });
    }
  }
}

/** From Litestream's metrics: its syncs so far, and the WAL positions of its copy and the replica. */
async function positions(address) {
  let text = '';
  try {
    text = await (await fetch(`http://${address}/metrics`)).text();
  } catch {
    return { synced: 0 };
  }
  const value = (name) => Number(new RegExp(`^litestream_${name}\\{.*\\} (\\S+)$`, 'm').exec(text)?.[1] ?? 0);
  return {
    synced: value('sync_count'),
    copied: [value('shadow_wal_index'), value('shadow_wal_size')],
    replicated: [value('replica_wal_index'), value('replica_wal_offset')],
  };
}

/** Waits until everything that is now in the WAL is in the replica. */
async function synced(address) {
  const { synced } = await positions(address);
  let copied;
  await until('Litestream has copied the WAL', async () => {
    const now = await positions(address);
    copied = now.copied;
    // One sync may have begun before the call.
    return now.synced >= synced + 2;
  });
  await until('the replica has it', async () => {
    const { replicated: [index, offset] } = await positions(address);
    return index > copied[0] || (index === copied[0] && offset >= copied[1]);
  });
}
