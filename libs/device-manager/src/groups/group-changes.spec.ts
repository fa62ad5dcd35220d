import { type Bus, callRpc } from '@orrery/core/bus';
import { UNLIMITED_OFFER } from '@orrery/core/limits';
import { decodeEntry } from '@orrery/core/messages';
import {
  type ApiClient,
  apiClient,
  type Backend,
  eventually,
  keyRing,
  type KeyRing,
  startBackend,
} from '@orrery/core/testing';
import { type GroupChange, resolveNode } from '../contract.js';
import type { DeviceView } from '../devices/device.dto.js';
import { deviceManager } from '../index.js';
import type { GroupView } from './group.dto.js';

const GROUPS = '/api/v1/deviceMgt/groups';
const DEVICES = '/api/v1/deviceMgt/devices';

let backend: Backend;
let bus: Bus;
let keys: KeyRing;
let url: string;
const notices: GroupChange[] = [];

beforeAll(async () => {
  backend = await startBackend([deviceManager]);
  bus = await backend.bus();
  keys = keyRing(bus);
  bus.connection.subscribe('control.group', {
    callback: (_error, message) =>
      decodeEntry(message.data).forEach(({ header }) => notices.push(JSON.parse(header) as GroupChange)),
  });
  ({ url } = await backend.boot([deviceManager]));
});
afterAll(() => backend.stop());

const codeOf = (answer: { status: number; body: unknown }): [number, string] => [
  answer.status,
  (answer.body as { code: string }).code,
];
const noted = (tenantId: string): number => notices.filter((notice) => notice.tenantId === tenantId).length;

/** A tenant of its own with `/france/lyon`, `/france/paris` and `/italia`. */
class Tree {
  static count = 0;
  readonly tenantId = `tree${++Tree.count}`;
  readonly api: ApiClient = apiClient(url, keys.grant(this.tenantId, { limits: UNLIMITED_OFFER }).value);
  france!: GroupView;
  lyon!: GroupView;
  paris!: GroupView;
  italia!: GroupView;

  async plant(): Promise<this> {
    this.france = await this.create('france');
    this.lyon = await this.create('lyon', this.france.id, 'City of Lyon');
    this.paris = await this.create('paris', this.france.id);
    this.italia = await this.create('italia');
    return this;
  }

  async create(pathNode: string, parentId = 'root', description = ''): Promise<GroupView> {
    const { status, body } = await this.api.post<GroupView>(GROUPS, { pathNode, parentId, description });
    expect(status).toBe(201);
    return body;
  }

  put({ id }: { id: string }, body: object) {
    return this.api.put<GroupView>(`${GROUPS}/${id}`, body);
  }

  async read({ id }: { id: string }): Promise<GroupView> {
    return (await this.api.get<GroupView>(`${GROUPS}/${id}`)).body;
  }

  async paths(): Promise<string[]> {
    return (await this.api.get<GroupView[]>(`${GROUPS}?limit=100`)).body.map((group) => group.path);
  }

  async device(name: string, group: { id: string }): Promise<string> {
    const id = `urn:lo:nsid:${this.tenantId}:${name}`;
    const interfaces = [{ connector: 'mqtt', definition: { clientId: `${this.tenantId}-${name}` } }];
    expect((await this.api.post(DEVICES, { id, group: { id: group.id }, interfaces })).status).toBe(200);
    return id;
  }

  async groupOf(deviceId: string): Promise<DeviceView['group']> {
    return (await this.api.get<DeviceView>(`${DEVICES}/${deviceId}`)).body.group;
  }
}

describe('groups that are renamed or moved', () => {
  it('GRP-013 GRP-014 keep their ids, and take along what is below', async () => {
    const tree = await new Tree().plant();
    const est = await tree.create('est', tree.lyon.id);
    const { status, body } = await tree.put(tree.france, { pathNode: 'gaul', parentId: 'root', description: 'Gallia' });
    expect([status, body]).toEqual([
      200,
      { ...tree.france, pathNode: 'gaul', path: '/gaul', description: 'Gallia', updated: expect.any(String) },
    ]);
    expect(Date.parse(body.updated)).toBeGreaterThan(Date.parse(tree.france.updated));
    expect(await tree.read(tree.france)).toEqual(body);
    expect(await tree.read(tree.lyon)).toMatchObject({ ...tree.lyon, path: '/gaul/lyon' });
    expect((await tree.put(tree.lyon, { parentId: tree.italia.id })).body.path).toBe('/italia/lyon');
    expect(await tree.read(est)).toMatchObject({ id: est.id, parentId: tree.lyon.id, path: '/italia/lyon/est' });
    expect(await tree.paths()).toEqual(['/', '/gaul', '/gaul/paris', '/italia', '/italia/lyon', '/italia/lyon/est']);
    // A start that two paths share by chance is no common group.
    const similar = await tree.create('gaul2');
    await tree.put(tree.france, { pathNode: 'g' });
    expect((await tree.read(similar)).path).toBe('/gaul2');
  });

  it('GRP-005 GRP-015 keep their devices, whose messages show the new path at once', async () => {
    const tree = await new Tree().plant();
    const id = await tree.device('d1', tree.lyon);
    const node = { tenantId: tree.tenantId, connector: 'mqtt', nodeId: `${tree.tenantId}-d1` };
    const resolve = () => callRpc(bus, resolveNode, { ...node, autoRegister: false, limits: {} });
    expect((await resolve()).device.group).toEqual({ id: tree.lyon.id, path: '/france/lyon' });
    const before = noted(tree.tenantId);
    await tree.put(tree.france, { pathNode: 'gaul' });
    await eventually(() => noted(tree.tenantId) === before + 1);
    expect((await resolve()).device.group).toEqual({ id: tree.lyon.id, path: '/gaul/lyon' });
    expect(await tree.groupOf(id)).toEqual({ id: tree.lyon.id, path: '/gaul/lyon' });

    const moved = await tree.api.patch<DeviceView>(`${DEVICES}/${id}`, { group: { id: tree.italia.id } });
    expect(moved.body.group).toEqual({ id: tree.italia.id, path: '/italia' });
    const listed = async (groupPath: string) => (await tree.api.get(`${DEVICES}?groupPath=${groupPath}`)).body;
    expect(await listed('/gaul/lyon')).toEqual([]);
    expect(await listed('/italia')).toMatchObject([{ id, group: { id: tree.italia.id, path: '/italia' } }]);
    // What no path shows is nobody else's business.
    await tree.put(tree.italia, { description: 'Bella' });
    await tree.put(tree.italia, { pathNode: 'italy' });
    await eventually(() => noted(tree.tenantId) === before + 2);
  });

  it('GRP-016 go below the root when no parent is given, and keep what else is not given', async () => {
    const tree = await new Tree().plant();
    const { status, body } = await tree.put(tree.lyon, { pathNode: 'lyon' });
    expect([status, body]).toEqual([
      200,
      { ...tree.lyon, parentId: 'root', path: '/lyon', updated: expect.any(String) },
    ]);
    const again = await tree.put(tree.lyon, { parentId: tree.italia.id, description: '' });
    expect(again.body).toMatchObject({ pathNode: 'lyon', path: '/italia/lyon', description: '' });
  });

  it('GRP-017 must exist, with a parent that exists in the same tenant', async () => {
    const [tree, other] = [await new Tree().plant(), await new Tree().plant()];
    for (const id of ['nope00', other.lyon.id, 'a%00b', '..%2f'])
      expect([id, codeOf(await tree.put({ id }, { pathNode: 'a' }))]).toEqual([id, [404, 'DM_GROUP_NOT_FOUND']]);
    for (const parentId of ['nope00', other.france.id, 'a b', '/france'])
      expect([parentId, codeOf(await tree.put(tree.lyon, { parentId }))]).toEqual([
        parentId,
        [404, 'DM_GROUP_NOT_FOUND'],
      ]);
    expect(await tree.read(tree.lyon)).toEqual(tree.lyon);
  });

  it('GRP-018 refuse the path of another group', async () => {
    const tree = await new Tree().plant();
    const taken = await tree.put(tree.lyon, { pathNode: 'paris', parentId: tree.france.id });
    expect(codeOf(taken)).toEqual([409, 'DM_GROUP_DUPLICATE']);
    expect(codeOf(await tree.put(tree.lyon, { pathNode: 'italia' }))).toEqual([409, 'DM_GROUP_DUPLICATE']);
    expect(await tree.paths()).toEqual(['/', '/france', '/france/lyon', '/france/paris', '/italia']);
    const race = await Promise.all(
      [tree.lyon, tree.paris].map((group) => tree.put(group, { pathNode: 'new', parentId: tree.italia.id })),
    );
    expect(race.map(({ status }) => status).sort()).toEqual([200, 409]);
  });

  it('GRP-019 cannot go below themselves, and the root stays where it is', async () => {
    const tree = await new Tree().plant();
    const est = await tree.create('est', tree.lyon.id);
    for (const parentId of [tree.france.id, tree.lyon.id, est.id])
      expect(codeOf(await tree.put(tree.france, { pathNode: 'france', parentId }))).toEqual([
        400,
        'GENERIC_INVALID_PARAMETER_ERROR',
      ]);
    expect(codeOf(await tree.put({ id: 'root' }, { pathNode: 'r' }))).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);
    for (const body of [{ pathNode: 'a/b' }, { pathNode: '' }, { pathNode: '*' }, { pathNode: 7 }, { description: 7 }])
      expect([body, codeOf(await tree.put(tree.lyon, body))]).toEqual([body, [400, 'GENERIC_INVALID_PARAMETER_ERROR']]);
    expect((await tree.read(tree.france)).path).toBe('/france');
  });

  it('never form a circle, however many move at once', async () => {
    const tree = await new Tree().plant();
    const groups = [tree.france, tree.italia, await tree.create('spain'), await tree.create('portugal')];
    for (let round = 0; round < 5; round++) {
      // Each goes below its neighbour: all of them together would be a circle.
      const answers = await Promise.all(
        groups.map((group, i) => tree.put(group, { parentId: groups[(i + 1) % groups.length]!.id })),
      );
      expect(answers.filter(({ status }) => status === 400)).not.toEqual([]);
      for (const { status } of answers) expect([200, 400]).toContain(status);
      for (const group of groups) {
        const { parentId, path, pathNode } = await tree.read(group);
        const parent = await tree.read({ id: parentId! });
        expect(path).toBe(`${parent.path === '/' ? '' : parent.path}/${pathNode}`);
      }
      for (const group of groups) await tree.put(group, { parentId: 'root' });
    }
    expect(await tree.paths()).toHaveLength(7);
  });

  it('LIM-069 GRP-036 do not go deeper than seven levels, with all that is below them', async () => {
    const tree = new Tree();
    let last = await tree.create('1');
    for (const level of ['2', '3', '4', '5', '6', '7']) last = await tree.create(level, last.id);
    const refused = [403, 'GENERIC_QUOTA_EXCEEDED_ERROR'];
    expect(codeOf(await tree.api.post(GROUPS, { pathNode: '8', parentId: last.id }))).toEqual(refused);
    const above = await tree.create('above');
    const below = await tree.create('below', above.id);
    const { parentId: sixth } = await tree.read(last);
    expect(codeOf(await tree.put(above, { parentId: sixth! }))).toEqual(refused);
    expect(codeOf(await tree.put(above, { parentId: last.id }))).toEqual(refused);
    expect(await tree.read(below)).toEqual(below);
    expect((await tree.put(below, { parentId: sixth! })).body.path).toBe('/1/2/3/4/5/6/below');
  });

  it('GRP-012 need DEVICE_W to be created, changed or deleted', async () => {
    const tree = await new Tree().plant();
    const reader = apiClient(url, keys.grant(tree.tenantId, { roles: ['DEVICE_R'] }).value);
    const answers = [
      await reader.post(GROUPS, { pathNode: 'x' }),
      await reader.put(`${GROUPS}/${tree.lyon.id}`, { pathNode: 'x' }),
      await reader.delete(`${GROUPS}/${tree.lyon.id}`),
    ];
    for (const answer of answers) expect(codeOf(answer)).toEqual([403, 'GENERIC_ACTION_FORBIDDEN_ERROR']);
    expect((await reader.get<GroupView>(`${GROUPS}/${tree.lyon.id}`)).body).toEqual(tree.lyon);
  });
});

describe('groups that are deleted', () => {
  const remove = (tree: Tree, id: string) => tree.api.delete(`${GROUPS}/${id}`);
  const undeletable = [403, 'DM_GROUP_UNDELETABLE'];

  it('GRP-031 are gone when they were empty', async () => {
    const [tree, other] = [await new Tree().plant(), await new Tree().plant()];
    expect(codeOf(await remove(other, tree.lyon.id))).toEqual([404, 'DM_GROUP_NOT_FOUND']);
    expect(await remove(tree, tree.lyon.id)).toMatchObject({ status: 204, body: undefined });
    expect(codeOf(await remove(tree, tree.lyon.id))).toEqual([404, 'DM_GROUP_NOT_FOUND']);
    expect(codeOf(await remove(tree, 'a%00b'))).toEqual([404, 'DM_GROUP_NOT_FOUND']);
    expect(await tree.paths()).toEqual(['/', '/france', '/france/paris', '/italia']);
    expect((await tree.create('lyon', tree.france.id)).id).not.toBe(tree.lyon.id);
  });

  it('GRP-032 GRP-033 GRP-034 must hold neither devices nor groups, and not be the root', async () => {
    const tree = await new Tree().plant();
    const id = await tree.device('d1', tree.lyon);
    expect(codeOf(await remove(tree, tree.lyon.id))).toEqual(undeletable);
    expect(codeOf(await remove(tree, tree.france.id))).toEqual(undeletable);
    expect(codeOf(await remove(new Tree(), 'root'))).toEqual(undeletable);
    expect(await tree.paths()).toContain('/france/lyon');
    await tree.api.delete(`${DEVICES}/${id}`);
    for (const group of [tree.lyon, tree.paris, tree.france]) expect((await remove(tree, group.id)).status).toBe(204);
    expect(await tree.paths()).toEqual(['/', '/italia']);
  });

  it('are not deleted under devices that come at the same moment', async () => {
    const tree = await new Tree().plant();
    for (let i = 0; i < 10; i++) {
      const group = await tree.create(`g${i}`);
      const id = `urn:lo:nsid:race:${tree.tenantId}${i}`;
      const [created, deleted] = await Promise.all([
        tree.api.post(DEVICES, { id, group: { id: group.id } }),
        remove(tree, group.id),
      ]);
      expect([
        [200, 403],
        [404, 204],
      ]).toContainEqual([created.status, deleted.status]);
    }
  });

  it('GRP-035 LIM-068 make room for others when there are 1500', async () => {
    const tree = await new Tree().plant();
    await backend.query(
      `INSERT INTO device_manager.groups SELECT $1, 'fill' || n, 'root', 'fill' || n, '/fill' || n, '', now(), now()
       FROM generate_series(1, 1496) n`,
      [tree.tenantId],
    );
    const more = { pathNode: 'more' };
    expect(codeOf(await tree.api.post(GROUPS, more))).toEqual([403, 'GENERIC_QUOTA_EXCEEDED_ERROR']);
    expect((await remove(tree, tree.lyon.id)).status).toBe(204);
    const race = await Promise.all([1, 2, 3].map((n) => tree.api.post(GROUPS, { pathNode: `more${n}` })));
    expect(race.map(({ status }) => status).sort()).toEqual([201, 403, 403]);
  });
});
