import { setTimeout as delay } from 'node:timers/promises';
import { RpcError } from '@orrery/core/bus';
import type { LimitValues } from '@orrery/core/limits';
import type { ResolvedNode } from '@orrery/device-manager/contract';
import { isUnknownNode, type NodeDirectory } from '../nodes/node-directory.js';

/** Nodes that are asked for at once by one connector. */
const ASKED_AT_ONCE = 32;
const RETRY_MS = 500;

/** Who has a node that nobody knows; why there is none, for the audit log. */
export interface NoNode {
  type: 'unknown_node' | 'not_registered';
  problem: string;
}

type Use = (found: ResolvedNode | NoNode) => void;
interface Waiting {
  registers: boolean;
  use: Use;
}

/** Whose nodes they are. */
export interface NodeOwner {
  readonly closed: boolean;
  readonly tenantId: string;
  readonly limits: LimitValues;
}

/**
 * Finds the nodes of one connector. What is for a known node is done at once; what comes while it is asked for is done
 * afterwards, in its order. Connections stop being read long before many wait (`Connection.hold`).
 */
export class NodeLookUp {
  private readonly waiting = new Map<string, Waiting[]>();
  private readonly toAsk: string[] = [];
  private asking = 0;

  constructor(
    private readonly directory: NodeDirectory,
    private readonly owner: NodeOwner,
  ) {}

  /** Calls back with the node, and registers it when it is unknown and may be. */
  find(nodeId: string, registers: boolean, use: Use): void {
    const waiting = this.waiting.get(nodeId);
    if (waiting) {
      waiting.push({ registers, use });
      return;
    }
    const known = this.directory.peek(this.owner.tenantId, nodeId);
    if (known) {
      use(known);
      return;
    }
    this.waiting.set(nodeId, [{ registers, use }]);
    this.toAsk.push(nodeId);
    this.askNext();
  }

  private askNext(): void {
    while (this.asking < ASKED_AT_ONCE && this.toAsk.length > 0) {
      this.asking++;
      void this.askFor(this.toAsk.shift()!).finally(() => {
        this.asking--;
        this.askNext();
      });
    }
  }

  private async askFor(nodeId: string): Promise<void> {
    const waiting = this.waiting.get(nodeId)!;
    while (waiting.length > 0) {
      const { registers } = waiting[0]!;
      const found = await this.ask(nodeId, registers);
      if (found === undefined) {
        // What came before the end of the connection counts, but nobody is left who would wait.
        if (this.owner.closed) break;
        await delay(RETRY_MS);
      }
      // Who only answers for an unknown node does not decide for those behind, who may register it.
      else for (const { use } of waiting.splice(0, 'type' in found && !registers ? 1 : waiting.length)) use(found);
    }
    this.waiting.delete(nodeId);
  }

  /** @returns undefined when it must be asked again. */
  private async ask(nodeId: string, registers: boolean): Promise<ResolvedNode | NoNode | undefined> {
    const { tenantId, limits } = this.owner;
    try {
      return registers
        ? await this.directory.findOrRegister(tenantId, nodeId, limits)
        : await this.directory.find(tenantId, nodeId);
    } catch (error) {
      if (!registers && isUnknownNode(error)) return { type: 'unknown_node', problem: 'there is no such node' };
      // What the inventory says of the node; anything else says that it could not decide.
      if (
        error instanceof RpcError &&
        (error.code === 'GENERIC_QUOTA_EXCEEDED_ERROR' || error.code === 'GENERIC_INVALID_PARAMETER_ERROR')
      )
        return { type: 'not_registered', problem: `the node cannot be registered: ${error.message}` };
      return undefined;
    }
  }
}
