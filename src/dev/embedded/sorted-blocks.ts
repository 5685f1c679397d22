/** Members in order of score, in blocks of bounded size: every step costs the size of a block, not of the whole. */

export interface Scored {
  readonly member: string;
  readonly score: number;
}

const MOST_IN_BLOCK = 256;

/** Scores first, then bytes. */
export function isBefore(a: Scored, b: Scored): boolean {
  return a.score < b.score || (a.score === b.score && a.member < b.member);
}

export class SortedBlocks {
  private readonly blocks: Scored[][] = [];
  private count = 0;

  get size(): number {
    return this.count;
  }

  insert(item: Scored): void {
    this.count++;
    const {blocks} = this;
    const index = Math.min(
      this.blockWhere(other => isBefore(other, item)),
      blocks.length - 1,
    );
    const block = blocks[index];
    if (block === undefined) {
      blocks.push([item]);
      return;
    }
    block.splice(
      indexWhere(block, other => isBefore(other, item)),
      0,
      item,
    );
    if (block.length > MOST_IN_BLOCK) blocks.splice(index + 1, 0, block.splice(MOST_IN_BLOCK / 2));
  }

  remove(item: Scored): void {
    const index = this.blockWhere(other => isBefore(other, item));
    const block = this.blocks[index];
    if (block === undefined) return;
    const place = indexWhere(block, other => isBefore(other, item));
    if (block[place]?.member !== item.member) return;
    block.splice(place, 1);
    this.count--;
    if (block.length === 0) this.blocks.splice(index, 1);
  }

  /** How many items come before the first that is not `low`; all low items must come first. */
  rankWhere(isLow: (item: Scored) => boolean): number {
    const index = this.blockWhere(isLow);
    let rank = 0;
    for (let i = 0; i < index; i++) rank += this.blocks[i]?.length ?? 0;
    const block = this.blocks[index];
    return block === undefined ? rank : rank + indexWhere(block, isLow);
  }

  /** Items with rank `from` up to but without `to`, in order. */
  slice(from: number, to: number): Scored[] {
    const out: Scored[] = [];
    let start = 0;
    for (const block of this.blocks) {
      const end = start + block.length;
      if (end > from && start < to) {
        for (let i = Math.max(0, from - start); i < block.length && start + i < to; i++) {
          const item = block[i];
          if (item !== undefined) out.push(item);
        }
      }
      start = end;
      if (start >= to) break;
    }
    return out;
  }

  private blockWhere(isLow: (item: Scored) => boolean): number {
    const {blocks} = this;
    let low = 0;
    let high = blocks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const last = blocks[middle]?.at(-1);
      if (last !== undefined && isLow(last)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function indexWhere(block: readonly Scored[], isLow: (item: Scored) => boolean): number {
  let low = 0;
  let high = block.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const item = block[middle];
    if (item !== undefined && isLow(item)) low = middle + 1;
    else high = middle;
  }
  return low;
}
