import tseslint from 'typescript-eslint';

export default tseslint.config(
  {
    ignores: [
      ...['dist', 'node_modules', 'templates', 'coverage', 'bin', 'scripts', 'eslint.config.js'],
      // Runs on the built package, as it is.
      'test/faults/agents.mjs',
      'test/faults/manager.mjs',
      'test/faults/scheduler.mjs',
      'test/faults/worker.mjs',
    ],
  },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {parserOptions: {projectService: true, tsconfigRootDir: import.meta.dirname}},
    rules: {
      // Numbers in messages are ordinary here; objects are still refused.
      '@typescript-eslint/restrict-template-expressions': ['error', {allowNumber: true, allowBoolean: true}],
      // Handlers and hooks are async by contract even where one has nothing to await.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-unused-vars': ['error', {argsIgnorePattern: '^_', varsIgnorePattern: '^_'}],
      '@typescript-eslint/no-confusing-void-expression': ['error', {ignoreArrowShorthand: true}],
      '@typescript-eslint/consistent-type-imports': ['error', {fixStyle: 'inline-type-imports'}],
      // A schema and the type derived from it share one name (style.md).
      '@typescript-eslint/no-redeclare': 'off',
      '@typescript-eslint/only-throw-error': 'error',
    },
  },
  {
    files: ['test/**', 'bench/**'],
    rules: {'@typescript-eslint/no-non-null-assertion': 'off'},
  },
);
