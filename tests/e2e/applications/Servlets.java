import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.File;
import org.apache.catalina.Context;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;

/** Tomcat with a servlet for each area of a site. Usage: java -cp … Servlets.java PORT */
public class Servlets {
    static class Area extends HttpServlet {
        private final String name;

        Area(String name) {
            this.name = name;
        }

        @Override
        protected void service(HttpServletRequest request, HttpServletResponse response) {
            response.setHeader("X-Area", name);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(new File("tomcat").getAbsolutePath());
        Connector connector = new Connector();
        connector.setPort(Integer.parseInt(arguments[0]));
        connector.setProperty("address", "127.0.0.1");
        tomcat.setConnector(connector);
        Context context = tomcat.addContext("", new File(".").getAbsolutePath());
        for (String name : new String[] {"public", "edit", "orders"}) {
            Tomcat.addServlet(context, name, new Area(name));
            context.addServletMappingDecoded("/" + name + "/*", name);
        }
        Tomcat.addServlet(context, "other", new Area("other"));
        context.addServletMappingDecoded("/", "other");
        tomcat.start();
        tomcat.getServer().await();
    }
}
