import assert from 'node:assert/strict';
import {describe, test} from 'node:test';
import {keySentences, keywords, plainText, sentences, summarise, words} from '../src/text.js';

const DOCUMENT = `# Queues

A queue keeps work until a worker takes it. The worker reads one entry of the queue, does the work and
acknowledges it.

\`\`\`js
const secret = 'code is not prose';
\`\`\`

Bananas are yellow. When a worker dies, the queue hands its work to another worker.
`;

describe('plainText', () => {
  test('leaves out code blocks and the marks of Markdown', () => {
    const text = plainText('## Hello **bold** [link](https://example.com)\n\n```\ncode\n```\n- item `x`\n> quote');
    assert.equal(text, 'Hello bold link\n\nitem x\nquote');
  });

  test('leaves out a code block that never ends', () => {
    assert.equal(plainText('before\n~~~\ncode'), 'before');
  });
});

describe('words and sentences', () => {
  test('are found in languages that write no spaces', () => {
    assert.ok(words('我喜欢喝咖啡。').length > 2);
    assert.deepEqual(sentences('我喜欢喝咖啡。你呢?'), ['我喜欢喝咖啡。', '你呢?']);
  });
});

describe('keywords', () => {
  test('are the words that come most often, without those that come in every text', () => {
    const found = keywords(plainText(DOCUMENT), 3);
    assert.deepEqual(
      found.map(({word, count}) => [word, count]),
      [
        ['worker', 4],
        ['queue', 3],
        ['work', 3],
      ],
    );
  });
});

describe('keySentences', () => {
  test('are about what the text is about, in its order', () => {
    const found = keySentences(plainText(DOCUMENT), 2);
    assert.equal(found.length, 2);
    assert.ok(found.every(sentence => sentence.includes('queue')));
    assert.ok(found.every(sentence => !sentence.includes('Bananas')));
  });
});

test('a text without sentences still has an answer', () => {
  assert.equal(summarise('ok'), 'Keywords: none\n');
});
