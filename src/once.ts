/** Made by whoever asks first, and the same for all who ask later. A promise that rejects is kept too. */
export function once<T>(make: () => T): () => T {
  let made: {readonly value: T} | undefined;
  return () => (made ??= {value: make()}).value;
}
