/** by-toolkit/testing: what projects import to test their agents. */
export {createTestStack, type TestRun, type TestStack, type TestStackOptions} from './test-stack.js';
export {projectWorker} from './project-worker.js';
