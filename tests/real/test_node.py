# SPDX-License-Identifier: Apache-2.0
"""node under the shim: timers, buffers, promises, compression and worker threads; same output."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403

need("node")
SCRIPT = r"""
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto'), zlib = require('zlib'), fs = require('fs'), { execFileSync } = require('child_process');
function mix(seed, rounds) {
	const kept = new Map();
	let hash = crypto.createHash('sha256').update(String(seed));
	for (let i = 0; i < rounds; i++) {
		const b = Buffer.alloc(1000 + (i * 37) % 60000, i & 255);
		kept.set('k' + (i % 300), { b, at: i, text: ('x' + i).repeat(20) });
		if (i % 20 == 0) hash.update(zlib.deflateSync(b));
		if (i % 50 == 0) hash.update(JSON.stringify([...kept.keys()]));
	}
	return hash.digest('hex');
}
if (!isMainThread) {
	parentPort.postMessage(mix(workerData, 5000));
} else {
	const out = [];
	let ticks = 0;
	const timer = setInterval(() => ticks++, 5);
	const workers = [1, 2, 3].map(n => new Promise((resolve, reject) => {
		const w = new Worker(__filename, { workerData: n });
		w.on('message', m => resolve(n + ' ' + m));
		w.on('error', reject);
	}));
	const inflated = Promise.all([...Array(20).keys()].map(i => new Promise((resolve, reject) =>
		zlib.gzip(Buffer.alloc(300000, i), (e, z) => e ? reject(e) : zlib.gunzip(z, (e2, b) => e2 ? reject(e2) :
			resolve(b.length + ':' + b[7]))))));
	const file = fs.promises.readFile(__filename).then(b => b.length);
	Promise.all([...workers, inflated, file, new Promise(r => setTimeout(() => r('slept'), 2500))]).then(all => {
		clearInterval(timer);
		console.log(JSON.stringify(all));
		console.log(mix(0, 3000), ticks > 10);
		console.log(execFileSync(process.execPath, ['-e', 'console.log(6 * 7)']).toString().trim());
		process.exitCode = 7;
	});
}
"""
folder, captures = scratch("node"), scratch("ld")
with open(os.path.join(folder, "script.js"), "w") as f:
    f.write(SCRIPT)


def session(env):
    done = run(["node", "script.js"], 120, env=env, cwd=folder)
    return done.returncode, done.stdout, done.stderr


plain = session(clean_environment())
expect(plain[0] == 7 and plain[1].count("\n") == 3, "node without the shim: %s" % (plain,))
ENV = shim_environment(captures)


def work():
    got = session(ENV)
    expect(got == plain, "node: %s without the shim, %s with it" % (plain, got))


while_snapping("node", work, captures)
finish()
