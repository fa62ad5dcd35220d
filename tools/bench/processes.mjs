import { readdirSync, readFileSync } from 'node:fs';

const TICKS_PER_SECOND = 100;

/**
 * Of this process and, unless it is our own, its children. The memory is theirs alone: what the processes of PostgreSQL share
 * is of a fixed size, and would be counted once for each of them that has touched it.
 *
 * @param {number} pid
 * @returns {{ cpuSeconds: number, memoryMiB: number }}
 */
export function usage(pid) {
  let cpuSeconds = 0;
  let memoryKiB = 0;
  const wanted = new Set([pid]);
  /** @type {Array<{ pid: number, parent: number, ticks: number }>} */
  const all = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const text = readFileSync(`/proc/${name}/stat`, 'utf8');
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      all.push({
        pid: Number(name),
        parent: Number(fields[1]),
        ticks:
          Number(fields[11]) + Number(fields[12]) + (pid === process.pid ? 0 : Number(fields[13]) + Number(fields[14])),
      });
    } catch {
      // The process has ended since the directory was read.
    }
  }
  for (let grown = pid !== process.pid; grown;) {
    grown = false;
    for (const each of all)
      if (wanted.has(each.parent) && !wanted.has(each.pid)) {
        wanted.add(each.pid);
        grown = true;
      }
  }
  for (const each of all)
    if (wanted.has(each.pid)) {
      // Time of ended children is counted in their parent.
      cpuSeconds += each.ticks / TICKS_PER_SECOND;
      memoryKiB += ownMemory(each.pid);
    }
  return { cpuSeconds, memoryMiB: memoryKiB / 1024 };
}

/** @param {number} pid */
function ownMemory(pid) {
  try {
    return Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** CPU cores that each process used between two calls. @param {Record<string, number>} pids */
export function watchUsage(pids) {
  const began = performance.now();
  const start = Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, usage(pid)]));
  return () => {
    const seconds = (performance.now() - began) / 1000;
    return Object.fromEntries(
      Object.entries(pids).map(([name, pid]) => {
        const now = usage(pid);
        return [
          name,
          {
            cores: (now.cpuSeconds - (start[name]?.cpuSeconds ?? 0)) / seconds,
            memoryMiB: now.memoryMiB,
            growthMiB: now.memoryMiB - (start[name]?.memoryMiB ?? 0),
          },
        ];
      }),
    );
  };
}
