/** What a durable operation returns: a promise that knows whether anybody waits for it. */

/**
 * A turn ends when all its code waits for answers that are not there. Code that has a promise and does something else
 * first does not wait for it yet; so the promise notes when somebody does.
 */
export class DurablePromise<T> extends Promise<T> {
  private onAwaited: (() => void) | undefined;

  static create<T>(onAwaited: () => void): {
    readonly promise: DurablePromise<T>;
    readonly resolve: (value: T) => void;
    readonly reject: (error: Error) => void;
  } {
    let resolve!: (value: T) => void;
    let reject!: (error: Error) => void;
    const promise = new DurablePromise<T>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    // Nobody has to look at what an agent answers: that must not end the process as an unhandled rejection.
    void Promise.prototype.then.call(promise, undefined, () => undefined);
    promise.onAwaited = onAwaited;
    return {promise, resolve, reject};
  }

  /** What is chained to it is any promise. */
  static override get [Symbol.species]() {
    return Promise;
  }

  override then<A = T, B = never>(
    onResolved?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.onAwaited?.();
    return super.then(onResolved, onRejected);
  }
}
