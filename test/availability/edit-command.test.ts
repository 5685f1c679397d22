import {describe, expect, test} from 'vitest';
import {applyEdits, changesBetween} from '../../src/availability/edit-command.js';
import {ByError} from '../../src/errors.js';

const document = {
  body: {content: [{text: 'a'}, {text: 'b'}], extra_payload: {k: 1}},
  header: {user_name: 'Ann'},
};

describe('an edit', () => {
  test.each([
    ['sets a member', 'header.user_name', 'Bob', {header: {user_name: 'Bob'}}],
    ['makes the way to a new one', 'body.new.deep', 1, {body: {new: {deep: 1}}}],
    ['reaches into lists', 'body.content.1.text', 'c', {body: {content: [{text: 'a'}, {text: 'c'}]}}],
    ['adds to the end of a list', 'body.content.2', 'x', {body: {content: [{text: 'a'}, {text: 'b'}, 'x']}}],
    ['takes an item out', 'body.content.0', undefined, {body: {content: [{text: 'b'}]}}],
  ])('%s', (_, path, value, expected) => {
    expect(applyEdits(document, [{path, value}])).toMatchObject(expected);
  });

  test('takes a member out', () => {
    expect(applyEdits(document, [{path: 'body.extra_payload', value: undefined}])['body']).not.toHaveProperty(
      'extra_payload',
    );
  });

  test('leaves the original alone', () => {
    const before = JSON.stringify(document);
    applyEdits(document, [{path: 'body.content.0.text', value: 'changed'}]);
    expect(JSON.stringify(document)).toBe(before);
  });

  test.each([
    ['', 1],
    ['header.', 1],
    ['header.user_name.first', 1],
    ['body.content.7', 1],
    ['body.content.x', 1],
    ['body.content.-1', 1],
    ['body.nope', undefined],
    ['nope.nope', undefined],
    ['content', 'beside the body, where nobody reads it'],
    ['content.0.text', 'x'],
  ])('refuses the place %j', (path, value) => {
    expect(() => applyEdits(document, [{path, value}])).toThrow(ByError);
  });

  test.each(['__proto__.polluted', 'constructor.prototype.polluted', 'body.__proto__.polluted'])(
    'never reaches a prototype: %s',
    path => {
      try {
        applyEdits(document, [{path, value: true}]);
      } catch (error) {
        expect(error).toBeInstanceOf(ByError);
      }
      expect(({} as {polluted?: boolean}).polluted).toBeUndefined();
    },
  );
});

test('changes are told leaf by leaf', () => {
  const after = applyEdits(document, [
    {path: 'body.content.0.text', value: 'z'},
    {path: 'body.extra_payload.k', value: undefined},
    {path: 'header.new', value: null},
  ]);
  expect(changesBetween(document, after)).toEqual([
    {path: 'body.content.0.text', before: 'a', after: 'z'},
    {path: 'body.extra_payload.k', before: 1, after: undefined},
    {path: 'header.new', before: undefined, after: null},
  ]);
  expect(changesBetween(document, structuredClone(document))).toEqual([]);
});
