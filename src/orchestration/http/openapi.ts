/** The OpenAPI document: made from the table of routes and from the very schemas that read requests and write answers. */
import {
  answers,
  componentSchemas,
  queryParameters,
  requests,
  type Schema,
} from '../../protocol/orchestration/http-api.js';
import {ROUTES, type Route} from './routes.js';

const nameOf = new Map<Schema, string>(
  Object.entries({...requests, ...answers}).map(([name, schema]) => [schema as Schema, name]),
);

const content = (schema: Schema) => ({
  'application/json': {schema: {$ref: `#/components/schemas/${nameOf.get(schema) ?? ''}`}},
});

const parameter = (name: string, where: string, required: boolean, schema: object, description?: string) => ({
  ...{name, in: where, required, schema},
  ...(description === undefined ? {} : {description}),
});

const text = {type: 'string'};
const everywhere = [
  parameter('By-Workspace', 'header', false, text, 'Workspace; goes before the query.'),
  parameter('workspace', 'query', false, text, 'Workspace; default that of the server.'),
];

function operation(route: Route) {
  const {name, summary, path, query, body} = route;
  return {
    ...{operationId: name, summary, tags: [path.split('/')[2] ?? '']},
    parameters: [
      ...(path.includes('{id}') ? [parameter('id', 'path', true, text)] : []),
      ...queryParameters(query).map(one => parameter(one.name, 'query', one.required, one.schema)),
      ...(route.kind === 'stream' ? [parameter('Last-Event-ID', 'header', false, text)] : []),
      ...everywhere,
    ],
    ...(body === undefined ? {} : {requestBody: {content: content(body)}}),
    responses: {
      ...(route.kind === 'stream'
        ? {200: {description: 'Events.', content: {'text/event-stream': {schema: text}}}}
        : {[route.status]: {description: 'Done.', content: content(route.answer)}}),
      default: {description: 'Refused or failed.', content: content(answers.Failure)},
    },
  };
}

/** @param version of this program. */
export function openApiDocument(version: string): Readonly<Record<string, unknown>> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of ROUTES) (paths[route.path] ??= {})[route.method.toLowerCase()] = operation(route);
  return {
    openapi: '3.1.0',
    info: {title: 'by: tasks, runs, approvals, agents and schedules', version},
    security: [{bearer: []}],
    paths,
    components: {
      securitySchemes: {bearer: {type: 'http', scheme: 'bearer'}},
      schemas: componentSchemas(),
    },
  };
}
