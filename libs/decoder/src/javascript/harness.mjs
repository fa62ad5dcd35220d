/** Most characters of the JSON text of a result: as many as a message's value may have bytes. */
export const MAX_RESULT = 1_048_576;

/** Most characters of an error's text. */
export const MAX_ERROR = 200;

/**
 * Script that runs in the sandbox before the decoder's. It gives `seal`, called once after the decoder's script, and `run`,
 * called for each payload, whose answer is JSON text, or `!` and why there is none. It keeps what it needs of the language
 * to itself, as the decoder's script may replace anything.
 *
 * The clock stands still while a payload is decoded: a script can tell the time, and cannot measure what others do.
 *
 * After the decoder's script has run, what the language provides is frozen, so that no payload can change it for later
 * ones (with a field named `__proto__`, for example). A frozen property would forbid to assign one of the same name to an
 * object that inherits it, which scripts do with `toString`, `constructor`, `name` and `message`: these become accessors.
 */
export const HARNESS = `(function (global) {
  'use strict';
  var parse = JSON.parse, stringify = JSON.stringify, text = String;
  var tagOf = Function.prototype.call.bind(Object.prototype.toString);
  var sliceOf = Function.prototype.call.bind(String.prototype.slice);
  var add = Function.prototype.call.bind(Set.prototype.add), has = Function.prototype.call.bind(Set.prototype.has);
  var each = Function.prototype.call.bind(Set.prototype.forEach);
  var define = Object.defineProperty, freeze = Object.freeze, ownKeys = Reflect.ownKeys;
  var prototypeOf = Object.getPrototypeOf, descriptorOf = Object.getOwnPropertyDescriptor, construct = Reflect.construct;
  var decode, now = 0;

  var RealDate = Date;
  function StillDate() {
    if (!new.target) return text(new RealDate(now));
    return construct(RealDate, arguments.length === 0 ? [now] : arguments, new.target);
  }
  define(StillDate, 'name', { value: 'Date' });
  define(StillDate, 'prototype', { value: RealDate.prototype, writable: false });
  define(RealDate.prototype, 'constructor', { value: StillDate });
  StillDate.now = function () { return now; };
  StillDate.parse = RealDate.parse;
  StillDate.UTC = RealDate.UTC;
  global.Date = StillDate;
  // They would outlive a run, or see garbage collection.
  ['WeakRef', 'FinalizationRegistry', 'SharedArrayBuffer', 'Atomics'].forEach(function (name) { delete global[name]; });

  var intrinsics = new Set();
  function collect(value) {
    if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return;
    if (value === global || has(intrinsics, value)) return;
    add(intrinsics, value);
    collect(prototypeOf(value));
    ownKeys(value).forEach(function (key) {
      var descriptor = descriptorOf(value, key);
      collect(descriptor.value); collect(descriptor.get); collect(descriptor.set);
    });
  }
  ownKeys(global).forEach(function (key) { collect(descriptorOf(global, key).value); });
  [function* () {}, async function () {}, async function* () {}, [][Symbol.iterator](), new Map().keys(), new Set().keys(),
    ''[Symbol.iterator](), 'a'.matchAll(/a/g)].forEach(function (sample) { collect(prototypeOf(sample)); });

  var inherited = [Object.prototype, Error.prototype, TypeError.prototype, RangeError.prototype, SyntaxError.prototype];
  function assignable(prototype, key) {
    var descriptor = descriptorOf(prototype, key);
    if (!('value' in descriptor) || !descriptor.configurable) return;
    define(prototype, key, {
      get: function () { return descriptor.value; },
      set: function (value) {
        if (this === prototype || (typeof this !== 'object' && typeof this !== 'function'))
          throw new TypeError(text(key) + ' is read-only');
        define(this, key, { value: value, writable: true, enumerable: true, configurable: true });
      },
      enumerable: descriptor.enumerable,
      configurable: false,
    });
  }

  return {
    seal: function (found) {
      decode = found;
      inherited.forEach(function (prototype) {
        ownKeys(prototype).forEach(function (key) { assignable(prototype, key); });
      });
      each(intrinsics, function (intrinsic) { freeze(intrinsic); });
    },
    setTime: function (time) { now = time; },
    run: function (payload, encoded, time) {
      try {
        now = time;
        var result = decode(encoded ? parse(payload) : payload);
        var tag = tagOf(result);
        if (tag !== '[object Object]' && tag !== '[object Array]')
          return '!decode returned no object but ' + sliceOf(tag, 8, -1).toLowerCase();
        var json = stringify(result);
        if (typeof json !== 'string' || (json[0] !== '{' && json[0] !== '[')) return '!decode returned no object';
        if (json.length > ${MAX_RESULT}) return '!decode returned more than ${MAX_RESULT} characters of JSON';
        return json;
      } catch (error) {
        try {
          return '!decode threw ' + sliceOf(text(error), 0, ${MAX_ERROR});
        } catch (unprintable) {
          return '!decode threw an object without text';
        }
      }
    },
  };
})(globalThis)`;
