// node netron.mjs NETRON_FOLDER FILE...: opens each file with Netron's own readers.
// A line of JSON for each: its format, its name, and of each graph the name, nodes and inputs.
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, ...files] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(join(folder, name.endsWith('.js') ? name : `${name}.js`)));
const base = await load('base');
const view = await load('view');
const host = {
    require: load,
    request: (file, encoding) => readFile(join(folder, file), encoding),
    environment: () => null,
    exception: (error) => { throw error; },
    event: () => {},
};

for (const file of files) {
    const model = await new view.ModelFactoryService(host).open({
        identifier: basename(file),
        stream: new base.BinaryStream(await readFile(file)),
        entries: new Map(),
        request: host.request,
        require: host.require,
        error: host.exception,
        asset: (name) => host.request(name, 'utf-8'),
    });
    const graphs = (model.modules ?? model.graphs).map((graph) => ({
        name: graph.name,
        nodes: graph.nodes.length,
        inputs: graph.inputs.map((input) => input.name),
    }));
    console.log(JSON.stringify({ format: model.format, name: model.name, graphs }));
}
