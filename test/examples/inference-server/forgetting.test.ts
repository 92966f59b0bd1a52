/** The training queue by itself, its trainings ended by hand: what may begin while a user is deleted, and what survives it. */
import { describe, expect, test } from 'vitest';
import { waitFor } from '../../support/wait.js';
import { byHand, settled, signal } from './by-hand.js';

test('nothing of a user survives a deletion: not what waits, is put back or comes meanwhile; what comes afterwards trains', async () => {
  const { queue, begun, add, end, users } = byHand();
  // 1. One adapter of a trains, and more of it is ready; another gathers.
  add('a');
  add('a');
  add('a', 'other', 4);
  const erasing = signal();
  let erased = false;
  const forgotten = queue.forgetting.forget('a', async () => {
    erased = true;
    await erasing.given;
    return 'rows';
  });
  expect([queue.counts.waiting, queue.counts.dropped]).toEqual([10, 14]);
  // 2. Events come while the training is waited for: they do not begin, and neither does the erasing.
  add('a', 'third');
  await settled();
  expect([users(), erased]).toEqual([['a'], false]);
  // 3. The training could not save, and is put back.
  await end('again');
  await waitFor(() => erased);
  // 4. Events come while the user is erased; somebody else’s train, also after the pause.
  add('a');
  add('b');
  await waitFor(() => users().includes('b'));
  expect(users()).toEqual(['b']);
  // 5. The user is erased.
  erasing.give();
  expect(await forgotten).toBe('rows');
  expect(queue.counts).toEqual({ accepted: 54, waiting: 10, trained: 0, dropped: 44 });
  expect(users()).toEqual(['b']);
  // 6. This is news.
  add('a');
  expect(users()).toEqual(['b', 'a']);
  expect(begun.at(-1)?.lot.events).toHaveLength(10);
});

test('a deletion while a lot waits for its next try: the timer finds nothing', async () => {
  const { queue, add, end, users } = byHand();
  add('a');
  await end('again');
  const erasing = signal();
  const forgotten = queue.forgetting.forget('a', () => erasing.given);
  add('a');
  add('b');
  // The pause is over when b trains.
  await waitFor(() => users().length > 0);
  expect(users()).toEqual(['b']);
  erasing.give();
  await forgotten;
  expect([users(), queue.counts.dropped]).toEqual([['b'], 20]);
});

test('a deletion that fails says so, has dropped what there was, and holds nothing back', async () => {
  const { queue, add, users } = byHand();
  add('a', 'default', 4);
  const forgotten = queue.forgetting.forget('a', async () => {
    add('a');
    throw new Error('Redis is away');
  });
  await expect(forgotten).rejects.toThrow('Redis is away');
  expect(queue.counts).toEqual({ accepted: 14, waiting: 0, trained: 0, dropped: 14 });
  add('a');
  expect(users()).toEqual(['a']);
});

test('of two deletions at once the second still holds when the first has ended', async () => {
  const { queue, add, users } = byHand();
  const [first, second] = [signal(), signal()];
  const forgotten = [queue.forgetting.forget('a', () => first.given), queue.forgetting.forget('a', () => second.given)];
  first.give();
  await forgotten[0];
  add('a');
  expect(users()).toEqual([]);
  second.give();
  await forgotten[1];
  expect([users(), queue.counts.dropped]).toEqual([[], 10]);
});

test('of a user who may be gone nothing begins until that is known', async () => {
  for (const gone of [true, false]) {
    const { queue, add, users, end } = byHand();
    add('a');
    add('a');
    const answers = [signal(), signal()];
    let asked = 0;
    // 1. It is asked, while one training is under way.
    const checked = queue.forgetting.forgetIf('a', 'default', async () => {
      const answer = answers[asked++];
      await answer?.given;
      // 3. There is no answer the first time.
      return asked === 1 ? undefined : gone;
    });
    // 2. That one ends.
    await end(gone ? 'dropped' : 'trained');
    expect([asked, users()]).toEqual([1, []]);
    answers[0]?.give();
    // 4. It is asked again, and told.
    await waitFor(() => asked === 2);
    expect(users()).toEqual([]);
    answers[1]?.give();
    await checked;
    expect([gone, users(), queue.counts.waiting]).toEqual([gone, gone ? [] : ['a'], gone ? 0 : 10]);
  }
});

test('of a user who is gone, what was put back by the training under way is dropped, too', async () => {
  const { queue, add, users, end } = byHand();
  add('a');
  const checked = queue.forgetting.forgetIf('a', 'default', async () => true);
  await end('again');
  await checked;
  add('b');
  await waitFor(() => users().length > 0);
  expect([users(), queue.counts.dropped]).toEqual([['b'], 10]);
});

describe('when one adapter is deleted', () => {
  test('and is the last, what waits is dropped, whether word of it is faster than the answer or comes later', async () => {
    for (const first of ['word', 'answer']) {
      const { queue, add } = byHand({ concurrency: 0 });
      add('a', 'default', 4);
      const [erasing, word] = [signal(), signal()];
      // 1. It is being erased, and events come.
      const forgotten = queue.forgetting.forgetIfLast(
        'a',
        () => erasing.given.then(() => 1),
        async () => true,
      );
      add('a');
      // 2. Word of it, and the answer, in either order.
      const hear = async () => {
        const checked = queue.forgetting.forgetIf('a', 'default', async () => {
          await word.given;
          return true;
        });
        word.give();
        await checked;
      };
      if (first === 'word') await hear();
      erasing.give();
      await forgotten;
      expect([first, queue.counts]).toEqual([first, { accepted: 14, waiting: 0, trained: 0, dropped: 14 }]);
      // 3. What comes after the answer is a new user's.
      add('a');
      await hear();
      expect([first, queue.counts.waiting]).toEqual([first, 10]);
    }
  });

  test('and others are left, what waits begins once it has been deleted', async () => {
    const { queue, add, users } = byHand();
    const erasing = signal();
    const forgotten = queue.forgetting.forgetIfLast(
      'a',
      () => erasing.given.then(() => 3),
      async () => false,
    );
    add('a');
    expect(users()).toEqual([]);
    erasing.give();
    expect(await forgotten).toBe(3);
    expect([users(), queue.counts.dropped]).toEqual([['a'], 0]);
  });

  test('and it is not known whether others are left, the answer waits for that, and what comes after it is kept', async () => {
    const { queue, add, users } = byHand();
    add('a', 'default', 4);
    const answers = [signal(), signal(), signal()];
    let asked = 0;
    const isGone = async () => {
      await answers[asked++]?.given;
      return asked < 3 ? undefined : true;
    };
    let answered = false;
    // 1. It is erased, and Postgres does not say what is left.
    const forgotten = queue.forgetting.forgetIfLast('a', async () => 1, isGone).finally(() => (answered = true));
    for (const answer of answers) {
      await waitFor(() => answer === answers[asked - 1]);
      expect([answered, queue.counts.dropped]).toEqual([false, 0]);
      // 2. Meanwhile enough comes to train on.
      add('a', 'default', 6);
      answer.give();
    }
    // 3. It is asked until it is known.
    expect([await forgotten, users(), queue.counts.dropped]).toEqual([1, [], 22]);
    // 4. This is news.
    add('a', 'default', 4);
    await queue.forgetting.forgetIf('a', 'default', async () => true);
    expect(queue.counts.waiting).toBe(4);
  });

  test('and it is not known whether others are left, nor is anything here: there is an answer', async () => {
    const { queue } = byHand();
    expect(
      await queue.forgetting.forgetIfLast(
        'a',
        async () => 2,
        async () => undefined,
      ),
    ).toBe(2);
  });

  test('and word of it is told before the answer, what comes between the two is dropped', async () => {
    const { queue, add } = byHand({ concurrency: 0 });
    add('a', 'default', 4);
    const [erasing, known] = [signal(), signal()];
    // 1. It is being erased. 2. Word of that: the user is gone. 3. Events.
    const forgotten = queue.forgetting.forgetIfLast(
      'a',
      () => erasing.given.then(() => 1),
      async () => true,
    );
    await queue.forgetting.forgetIf('a', 'default', async () => true);
    add('a', 'default', 3);
    // 4. More word: it is asked again. 5. The erasing ends. 6. Events, before the answer.
    const checked = queue.forgetting.forgetIf('a', 'default', () => known.given.then(() => true));
    erasing.give();
    await settled();
    add('a', 'default', 2);
    known.give();
    await Promise.all([forgotten, checked]);
    expect(queue.counts).toMatchObject({ waiting: 0, dropped: 9 });
  });

  test('and there was nothing to delete, nobody asks', async () => {
    const { queue, add } = byHand({ concurrency: 0 });
    add('a');
    expect(
      await queue.forgetting.forgetIfLast(
        'a',
        async () => 0,
        () => expect.fail('asked'),
      ),
    ).toBe(0);
    expect(queue.counts.waiting).toBe(10);
  });

  test.each([true, false])(
    'and that fails, it may have been done: it is asked whether the user is gone: %s',
    async (gone) => {
      const { queue, add, users } = byHand();
      // 1. There is a new user where an old one was deleted.
      await queue.forgetting.forget('a', async () => {});
      add('a', 'default', 4);
      const answer = signal();
      // 2. The connection is lost. Whoever asked for the deletion is told so at once.
      const isGone = () => answer.given.then(() => gone);
      const failing = async () => Promise.reject(new Error('the connection was lost'));
      await expect(queue.forgetting.forgetIfLast('a', failing, isGone)).rejects.toThrow('was lost');
      // 3. Enough has come to train on.
      add('a', 'default', 6);
      expect(users()).toEqual([]);
      // 4. It is known what came of the deletion.
      answer.give();
      await settled();
      expect([users(), queue.counts.dropped]).toEqual(gone ? [[], 10] : [['a'], 0]);
    },
  );
});

test('a training under way that brings the user back is no secret to the next deletion', async () => {
  const gone = async () => true;
  for (const where of ['here', 'elsewhere']) {
    const { queue, add, end } = byHand();
    add('a', 'other');
    // 1. One is being trained, of a user of whom nothing else is left any more, or so Postgres says.
    const { forgetting } = queue;
    const forgotten =
      where === 'here' ? forgetting.forgetIfLast('a', async () => 1, gone) : forgetting.forgetIf('a', 'default', gone);
    await settled();
    // 2. It has found no adapter, and saves the first.
    await end('trained');
    await forgotten;
    // 3. Events come. 4. The user is deleted elsewhere.
    add('a', 'default', 4);
    await forgetting.forgetIf('a', 'default', gone);
    expect([where, queue.counts]).toMatchObject([where, { waiting: 0, trained: 10, dropped: 4 }]);
  }
});

describe('events that came after a deletion', () => {
  const gone = async () => true;

  test('are not dropped when word of it comes, once more or late', async () => {
    for (const first of ['here', 'elsewhere']) {
      const { queue, add } = byHand({ concurrency: 0 });
      add('a');
      if (first === 'here') await queue.forgetting.forget('a', async () => {});
      else await queue.forgetting.forgetIf('a', 'default', gone);
      add('a');
      await queue.forgetting.forgetIf('a', 'default', gone);
      await queue.forgetting.forgetIf('a', 'other', gone);
      expect([first, queue.counts.waiting, queue.counts.dropped]).toEqual([first, 10, 10]);
    }
  });

  test('nor by an answer that comes late', async () => {
    const { queue, add } = byHand({ concurrency: 0 });
    add('a');
    const [erasing, answer] = [signal(), signal()];
    // 1. The user is erased here. 2. Word of it comes back, and it is asked whether it is so.
    const forgotten = queue.forgetting.forget('a', () => erasing.given);
    add('a');
    const checked = queue.forgetting.forgetIf('a', 'default', async () => {
      await answer.given;
      return true;
    });
    // 3. The deletion ends, and is answered. 4. There is news of the user. 5. It is so.
    erasing.give();
    await forgotten;
    add('a');
    answer.give();
    await checked;
    expect(queue.counts).toMatchObject({ waiting: 10, dropped: 20 });
  });

  test('nor because an answer that comes late is of before it', async () => {
    const { queue, add } = byHand({ concurrency: 0 });
    add('a');
    const answer = signal();
    let asked = 0;
    // 1. Word of a change: is the user gone? Not yet.
    const checked = queue.forgetting.forgetIf('a', 'default', async () => {
      if (asked++ > 0) return true;
      await answer.given;
      return false;
    });
    // 2. The user is erased here. 3. There is news of the user. 4. The answer of step 1.
    await queue.forgetting.forget('a', async () => {});
    add('a');
    answer.give();
    await checked;
    // 5. Word of the deletion.
    await queue.forgetting.forgetIf('a', 'default', gone);
    expect(queue.counts).toMatchObject({ waiting: 10, dropped: 10 });
  });

  test('nor by late words of which the first came while nothing was here, or had no answer', async () => {
    const { queue, add } = byHand({ concurrency: 0 });
    await queue.forgetting.forget('a', async () => {});
    await queue.forgetting.forgetIf('a', 'default', () => expect.fail('asked'));
    add('a');
    const answers = [undefined, true, true];
    await queue.forgetting.forgetIf('a', 'other', async () => answers.shift());
    await queue.forgetting.forgetIf('a', 'third', async () => answers.shift());
    expect([answers.length, queue.counts.waiting]).toEqual([0, 10]);
  });

  test('are dropped by a second deletion elsewhere, though nobody here saw what was between the two', async () => {
    for (const first of ['all of it here', 'one adapter here', 'elsewhere']) {
      const { queue, add } = byHand({ concurrency: 0 });
      const { forgetting } = queue;
      add('a');
      if (first === 'all of it here') await forgetting.forget('a', async () => {});
      else if (first === 'one adapter here') await forgetting.forgetIfLast('a', async () => 1, gone);
      else await forgetting.forgetIf('a', 'default', gone);
      // 1. Events come.
      add('a');
      // 2. Another node saves an adapter. 3. It is asked whether the user is gone, and is answered after
      // 4. that node has deleted the user again.
      await forgetting.forgetIf('a', 'default', gone);
      expect([first, queue.counts.dropped]).toEqual([first, 10]);
      // 5. Word of that.
      await forgetting.forgetIf('a', 'default', gone);
      expect([first, queue.counts.dropped]).toEqual([first, 20]);
      // 6. These came after the second.
      add('a');
      await forgetting.forgetIf('a', 'default', gone);
      expect([first, queue.counts.waiting]).toEqual([first, 10]);
    }
  });

  test('may be dropped after all when a thousand others were deleted meanwhile: what is known of them is bounded', async () => {
    const { queue, add } = byHand({ concurrency: 0 });
    await queue.forgetting.forget('a', async () => {});
    for (let i = 0; i < 1000; i++) await queue.forgetting.forget(`other ${i}`, async () => {});
    add('a');
    await queue.forgetting.forgetIf('a', 'default', gone);
    expect(queue.counts.dropped).toBe(10);
  });

  test.each(['trained', 'dropped'] as const)(
    'are dropped by the next one after a training that %s them',
    async (outcome) => {
      const { queue, add, end, users } = byHand({ concurrency: 1 });
      await queue.forgetting.forget('a', async () => {});
      add('a');
      add('b');
      add('a');
      // What is dropped may have been saved, as when the connection dies meanwhile.
      await end(outcome);
      await queue.forgetting.forgetIf('a', 'default', gone);
      expect([users(), queue.counts.waiting]).toEqual([['b'], 10]);
    },
  );

  test('are dropped by the next one when the user was there again', async () => {
    const { queue, add } = byHand({ concurrency: 0 });
    await queue.forgetting.forget('a', async () => {});
    add('a');
    await queue.forgetting.forgetIf('a', 'default', async () => false);
    await queue.forgetting.forgetIf('a', 'other', gone);
    expect(queue.counts).toMatchObject({ waiting: 0, dropped: 10 });
  });

  test('are dropped by the next deletion when there was word of the user while nothing of them was here', async () => {
    const { queue, add } = byHand({ concurrency: 0 });
    await queue.forgetting.forget('a', async () => {});
    await queue.forgetting.forgetIf('a', 'default', () => expect.fail('asked'));
    add('a');
    await queue.forgetting.forgetIf('a', 'default', gone);
    expect(queue.counts).toMatchObject({ waiting: 0, dropped: 10 });
  });
});

test('words that come while it is asked whether a user is gone are one more question, whose answer is news', async () => {
  for (const gone of [true, false]) {
    const { queue, add, users } = byHand({ concurrency: 1 });
    add('b');
    add('a');
    const answers = [signal(), signal()];
    let asked = 0;
    const ask = async () => {
      const mine = asked++;
      await answers[mine]?.given;
      return mine === 1 && gone;
    };
    // 1. A first word, whose answer is of a moment before the user is erased. 2. Three more.
    const words = Array.from({ length: 4 }, () => queue.forgetting.forgetIf('a', 'default', ask));
    await settled();
    expect(asked).toBe(1);
    answers[0]?.give();
    await settled();
    expect([asked, queue.counts.dropped]).toEqual([2, 0]);
    // 3. It is asked once more.
    answers[1]?.give();
    await Promise.all(words);
    expect([asked, users(), queue.counts.dropped]).toEqual([2, ['b'], gone ? 10 : 0]);
    // 4. A word after that is a question again, where anything is here.
    add('a');
    await queue.forgetting.forgetIf('a', 'default', ask);
    expect(asked).toBe(3);
  }
});

test('nobody asks about a user of whom nothing is here', async () => {
  const { queue, add, end } = byHand();
  add('a');
  await end('trained');
  await queue.forgetting.forgetIf('a', 'default', () => expect.fail('asked'));
  await queue.forgetting.forgetIf('b', 'default', () => expect.fail('asked'));
});

test('a question that has no answer ends with the drain', async () => {
  const { queue, add } = byHand({ concurrency: 0, drainMs: 0 });
  add('a');
  const checked = queue.forgetting.forgetIf('a', 'default', async () => undefined);
  await queue.drain();
  await checked;
  // Nothing is left to ask about.
  await queue.forgetting.forgetIf('a', 'default', () => expect.fail('asked'));
  expect(queue.counts.dropped).toBe(10);
});
