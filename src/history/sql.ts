/** What we ask of a PostgreSQL client: `pg` has it, and so have others that speak SQL, such as PGlite. */

export interface SqlSession {
  query(text: string, values?: unknown[]): Promise<{readonly rows: Record<string, unknown>[]}>;
}

export interface SqlDatabase extends SqlSession {
  /** A session of one's own, for transactions; given back afterwards. */
  withSession<T>(act: (session: SqlSession) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** A client that is one session, made a database: its transactions come one after the other. */
export function singleSession(client: SqlSession & {close?(): Promise<void>}): SqlDatabase {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const mine = last.then(act, act);
    last = mine.catch(() => undefined);
    return mine;
  };
  return {
    query: (text, values) => inTurn(() => client.query(text, values)),
    withSession: act => inTurn(() => act(client)),
    close: async () => client.close?.(),
  };
}

/** All that `act` does, or nothing of it. */
export function inTransaction<T>(
  database: SqlDatabase,
  act: (session: SqlSession) => Promise<T>,
): Promise<T> {
  return database.withSession(async session => {
    await session.query('BEGIN');
    try {
      const result = await act(session);
      await session.query('COMMIT');
      return result;
    } catch (error) {
      // The connection may be gone, and with it the transaction: the first error is the one to tell.
      await session.query('ROLLBACK').catch(() => undefined);
      throw error;
    }
  });
}
