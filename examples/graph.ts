/**
 * A LangGraph graph as an agent: it writes, asks a person, and calls another agent for help until the person is content.
 *
 *   by send essayist "queues" --follow
 *
 * An interrupt of the graph is a question in the session, or a call; the worker may die between question and answer.
 */
import {Annotation, END, interrupt, START, StateGraph} from '@langchain/langgraph';
import {defineAgent} from 'by-toolkit';
import {callAgent, langGraphAgent} from 'by-toolkit/langgraph';

const Essay = Annotation.Root({
  topic: Annotation<string>,
  text: Annotation<string>,
  verdict: Annotation<string>,
});

const essay = new StateGraph(Essay)
  .addNode('write', ({topic}) => ({text: `On ${topic}: it depends.`}))
  .addNode('ask', ({text}) => ({
    verdict: interrupt<unknown, string>({prompt: `Print "${text}"?`, choices: ['yes', 'longer']}),
  }))
  .addNode('lengthen', ({text}) => ({text: String(callAgent('expander', text))}))
  .addEdge(START, 'write')
  .addEdge('write', 'ask')
  .addConditionalEdges('ask', ({verdict}) => (verdict === 'yes' ? END : 'lengthen'))
  .addEdge('lengthen', 'ask');

export const essayist = langGraphAgent({
  type: 'essayist',
  graph: options => essay.compile(options),
  input: ask => ({topic: ask.text}),
  output: ({text}) => String(text),
});

export const expander = defineAgent({
  type: 'expander',
  run: (_ctx, ask) => ({content: `${ask.text} On what? That depends, too.`}),
});

export default [essayist, expander];
